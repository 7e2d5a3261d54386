//! The admin server of a service: `/healthz`, `/readyz`, `/metrics`.
//!
//! For the operator's network only. It answers until its task is dropped, also while draining, because
//! that is when people look.

mod occupant;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::metrics::Exposition;
use crate::report::Failure;
use crate::shutdown::Shutdown;

/// Whether the service can do its job now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it can't; empty: it can.
    pub reasons: Vec<String>,
    /// What a person should look at all the same. Changes nothing about being ready.
    pub warnings: Vec<String>,
}

/// Asked anew for every request.
pub type Ready = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// Connections served at the same time; more wait in the listener's backlog.
const CONNECTIONS: usize = 64;
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live: one request, and a slow reader at most.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes an address. Done early, so that a second process on the same port ends before it does any harm.
pub async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).await;
    let refused = || match occupant::of(address) {
        Some(occupant) => format!("cannot listen on {address} for {what}: {occupant} already does"),
        None => format!("cannot listen on {address} for {what}"),
    };
    bound.with_context(refused).map_err(Failure::unavailable)
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, ready: Ready, metrics: Exposition, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: try again when some may be free.
                tracing::warn!(%error, "admin server cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (ready, metrics, shutdown) = (Arc::clone(&ready), metrics.clone(), shutdown.clone());
        tokio::spawn(async move {
            let connection = converse(stream, ready, metrics, shutdown);
            if tokio::time::timeout(CONNECTION_TIMEOUT, connection).await.is_err() {
                tracing::debug!("an admin connection was closed at its time limit");
            }
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, ready: Ready, metrics: Exposition, shutdown: Shutdown) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &ready, &metrics, &shutdown);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection broke");
    }
}

fn answer(
    method: &Method,
    path: &str,
    ready: &Ready,
    metrics: &Exposition,
    shutdown: &Shutdown,
) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match path {
        "/healthz" => plain(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => readiness(ready, shutdown),
        "/metrics" => typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.render()),
        _ => plain(StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics\n".to_owned()),
    }
}

fn readiness(ready: &Ready, shutdown: &Shutdown) -> Response<Full<Bytes>> {
    let Readiness { mut reasons, warnings } = ready();
    if shutdown.is_triggered() {
        reasons.push("draining".to_owned());
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons });
    if let Some(fields) = body.as_object_mut().filter(|_| !warnings.is_empty()) {
        fields.insert("warnings".to_owned(), warnings.into());
    }
    typed(status, "application/json", format!("{body}\n"))
}

fn plain(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;

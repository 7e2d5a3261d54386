//! A small HTTP client: posts one body and reads one bounded answer.
//!
//! Plain HTTP only: `weir send` talks to an ingest that is near. Connections are kept and reused.

use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Patience with one answer.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer that is read; ours are below a kilobyte.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Posts bodies to one address.
#[derive(Clone, Debug)]
pub struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    to: Uri,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

impl Poster {
    /// A client for an `http://` address.
    pub fn to(to: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(PATIENCE));
        Self { client: Client::builder(TokioExecutor::new()).build(connector), to }
    }

    /// Posts a body. An error: there was no answer.
    pub async fn post(&self, headers: &[(String, String)], body: Bytes) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(Method::POST).uri(self.to.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).context("build the request")?;
        let exchange = async {
            let answer = self.client.request(request).await?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!(error))?.to_bytes();
            Ok(Answer { status, body })
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer within {} s", PATIENCE.as_secs())))
    }
}

//! The accept loop: connections, their limits, and how they end.
//!
//! Our own because the usual one sets no timer. hyper's header timeout also counts while a connection is idle, so it
//! is set to the idle time, and a head that began and does not end is noticed here.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::app::App;
use crate::limits;
use crate::metrics;
use crate::produce::Log;
use bare::Bare;

mod bare;

/// How long to wait after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The accept loop of one listener.
pub struct Server {
    listener: TcpListener,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
}

impl Server {
    /// A server that accepts nothing yet.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(limits::CONNECTIONS_MAX)), graceful: GracefulShutdown::new() }
    }

    /// Serves until `stop` resolves. Connections that are open then stay open.
    pub async fn serve<L: Log>(&self, app: &Arc<App<L>>, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let (stream, peer, place) = tokio::select! {
                () = &mut stop => return,
                connection = self.accept() => connection,
            };
            let (app, watcher) = (Arc::clone(app), self.graceful.watcher());
            tokio::spawn(async move {
                metrics::connected();
                converse(stream, peer, app, watcher).await;
                metrics::disconnected();
                drop(place);
            });
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit) {
        loop {
            // The place first: who finds none waits in the backlog, not in our memory.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, place),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes no more connections, lets requests under way finish, and closes the rest.
    pub async fn close(self, timeout: Duration) {
        drop(self.listener);
        let open = self.graceful.count();
        if tokio::time::timeout(timeout, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(open, "connections were cut at the end of the drain");
        }
    }
}

async fn converse<L: Log>(stream: TcpStream, peer: SocketAddr, app: Arc<App<L>>, watcher: Watcher) {
    // Answers are small and must not wait for more of them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off delayed sending");
    }
    let pulse = Arc::new(Pulse::new());
    let seen = Arc::clone(&pulse);
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, under_way) = (Arc::clone(&app), UnderWay::begin(&seen, request.version()));
        async move {
            let response = app.answer(request).await;
            drop(under_way);
            response
        }
    });
    let io = TokioIo::new(Watched { stream, pulse: Arc::clone(&pulse), bare: Bare::default() });
    let connection = builder().serve_connection(io, service).into_owned();
    tokio::select! {
        served = watcher.watch(connection) => {
            if let Err(error) = served {
                tracing::debug!(%peer, error = error.to_string(), "a connection broke");
            }
        }
        () = pulse.stalls() => tracing::debug!(%peer, "a connection was too slow"),
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE_TIMEOUT)
        // Who has said everything may close its half and still gets the answer.
        .half_close(true)
        .max_buf_size(limits::CONNECTION_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(limits::STREAMS_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_header_list_size(limits::HEADERS_BYTES_MAX as u32);
    builder
}

/// What is known of a connection's life.
#[derive(Debug)]
struct Pulse {
    opened: Instant,
    /// Bytes that arrived since a request last began or ended.
    unclaimed: AtomicU64,
    under_way: AtomicU32,
    requests: AtomicU64,
    is_http2: AtomicBool,
}

impl Pulse {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            unclaimed: AtomicU64::new(0),
            under_way: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
        }
    }

    /// Resolves when a head began and did not become a request in time, or nothing ever came.
    async fn stalls(&self) {
        let tick = limits::HEAD_TIMEOUT / 2;
        let mut suspected: Option<(u64, Instant)> = None;
        loop {
            tokio::time::sleep(tick).await;
            let requests = self.requests.load(Ordering::Relaxed);
            let is_idle = self.under_way.load(Ordering::Relaxed) == 0;
            // HTTP/2 has bytes that belong to no request, and pings of its own.
            let has_began = self.unclaimed.load(Ordering::Relaxed) > 0 && !self.is_http2.load(Ordering::Relaxed);
            if is_idle && has_began {
                match suspected {
                    Some((then, since)) if then == requests => {
                        if since.elapsed() + tick >= limits::HEAD_TIMEOUT {
                            return;
                        }
                    }
                    Some(_) | None => suspected = Some((requests, Instant::now())),
                }
            } else {
                suspected = None;
            }
            // Before the first byte no timer of hyper runs.
            if requests == 0 && is_idle && self.opened.elapsed() > limits::IDLE_TIMEOUT {
                return;
            }
        }
    }
}

/// A request that is being answered.
struct UnderWay(Arc<Pulse>);

impl UnderWay {
    fn begin(pulse: &Arc<Pulse>, version: Version) -> Self {
        pulse.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
        pulse.requests.fetch_add(1, Ordering::Relaxed);
        pulse.under_way.fetch_add(1, Ordering::Relaxed);
        pulse.unclaimed.store(0, Ordering::Relaxed);
        Self(Arc::clone(pulse))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.unclaimed.store(0, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that counts what arrives, and in which no refusal leaves without a document.
struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    bare: Bare,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(ctx, buffer);
        let arrived = buffer.filled().len().saturating_sub(before);
        self.pulse.unclaimed.fetch_add(arrived as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, bare, .. } = &mut *self;
        ready!(bare.poll_write(stream, ctx))?;
        if bare.takes(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(stream).poll_write(ctx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, bare, .. } = &mut *self;
        ready!(bare.poll_write(stream, ctx))?;
        Pin::new(stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, bare, .. } = &mut *self;
        ready!(bare.poll_write(stream, ctx))?;
        ready!(Pin::new(&mut *stream).poll_shutdown(ctx))?;
        bare.poll_discard(stream, ctx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, bare, .. } = &mut *self;
        ready!(bare.poll_write(stream, ctx))?;
        if let [head] = slices
            && bare.takes(head)
        {
            return Poll::Ready(Ok(head.len()));
        }
        Pin::new(stream).poll_write_vectored(ctx, slices)
    }
}

#[cfg(test)]
mod tests;

//! The accept loop: connections, their limits, and how they end.
//!
//! Our own because the usual one sets no timer. The library's timers are not used either, but for the pings of HTTP/2:
//! which connection has to end, and how, is decided in `pulse`.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use runtime::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::app::App;
use crate::limits::{self, Limits};
use crate::produce::Log;
use bare::Bare;
use open::Open;
use pulse::{End, Pulse, UnderWay, Watch};

mod bare;
pub mod open;
mod pulse;

/// How long to wait after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The accept loop of one listener.
pub struct Server {
    listener: TcpListener,
    open: Arc<Open>,
    closing: Shutdown,
}

impl Server {
    /// A server that accepts nothing yet.
    pub fn new(listener: TcpListener) -> Self {
        Self::limited(listener, Limits::default())
    }

    /// The same with other limits.
    pub fn limited(listener: TcpListener, limits: Limits) -> Self {
        Self { listener, open: Arc::new(Open::new(limits)), closing: Shutdown::new() }
    }

    /// The connections that are open.
    pub fn open(&self) -> &Arc<Open> {
        &self.open
    }

    /// Serves until `stop` resolves. Connections that are open then stay open.
    pub async fn serve<L: Log>(&self, app: &Arc<App<L>>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let (stream, peer) = tokio::select! {
                () = &mut stop => return,
                connection = self.accept() => connection,
            };
            let (place, closing) = (self.open.enter(), self.closing.clone());
            let app = Arc::clone(app);
            tokio::spawn(async move {
                converse(stream, peer, app, place.pulse(), closing).await;
                drop(place);
            });
        }
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    // One waits here for its place, the others in the backlog, not in our memory.
                    self.open.room().await;
                    return accepted;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.open.spare_one();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes no more connections, lets requests under way finish, and closes the rest.
    pub async fn close(self, timeout: Duration) {
        drop(self.listener);
        let open = self.open.count();
        self.closing.trigger();
        if tokio::time::timeout(timeout, self.open.none()).await.is_err() {
            tracing::warn!(open, "connections were cut at the end of the drain");
        }
    }
}

async fn converse<L: Log>(
    stream: TcpStream,
    peer: SocketAddr,
    app: Arc<App<L>>,
    pulse: &Arc<Pulse>,
    closing: Shutdown,
) {
    // Answers are small and must not wait for more of them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off delayed sending");
    }
    let seen = Arc::clone(pulse);
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, under_way) = (Arc::clone(&app), UnderWay::begin(&seen, request.version()));
        let request = request.map(|body| Claimed { body, pulse: Arc::clone(&seen) });
        async move {
            let response = app.answer(request).await;
            drop(under_way);
            response
        }
    });
    let io = TokioIo::new(Watched { stream, pulse: Arc::clone(pulse), bare: Bare::default() });
    let mut connection = pin!(builder().serve_connection(io, service).into_owned());
    let mut watch = Watch::new(pulse);
    let mut closing = pin!(closing.wait());
    let mut is_closing = false;
    loop {
        tokio::select! {
            // First what has arrived, then whether it came in time.
            biased;
            served = &mut connection => {
                if let Err(error) = served {
                    tracing::debug!(%peer, error = error.to_string(), "a connection broke");
                }
                return;
            }
            () = &mut closing, if !is_closing => {
                is_closing = true;
                watch.tell();
                connection.as_mut().graceful_shutdown();
            }
            end = watch.next() => match end {
                End::Gently => connection.as_mut().graceful_shutdown(),
                End::AtOnce => {
                    tracing::debug!(%peer, "a connection was too slow");
                    return;
                }
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // It would also count while a connection is idle.
        .header_read_timeout(None)
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
        .max_header_list_size(limits::CONNECTION_BUFFER_BYTES as u32);
    builder
}

/// A body whose bytes are no head, also when it was refused and is read after that.
struct Claimed {
    body: Incoming,
    pulse: Arc<Pulse>,
}

impl Body for Claimed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(ctx);
        if polled.is_ready() {
            self.pulse.claim();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that counts what arrives, notes when nothing leaves, and in which no refusal leaves without a document.
struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    bare: Bare,
}

impl Watched {
    /// Writes by `write`, after what stands before it.
    fn poll_writing<T>(
        &mut self,
        ctx: &mut Context<'_>,
        write: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        ready!(self.poll_bare(ctx))?;
        let polled = write(self, ctx);
        self.pulse.wrote(polled.is_ready());
        polled
    }

    /// Writes what is left of a refusal of the library's.
    fn poll_bare(&mut self, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, bare, .. } = &mut *self;
        let polled = bare.poll_write(stream, ctx);
        if polled.is_pending() {
            self.pulse.wrote(false);
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(ctx, buffer);
        self.pulse.arrived(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_writing(ctx, |watched, ctx| {
            if watched.bare.takes(bytes) {
                return Poll::Ready(Ok(bytes.len()));
            }
            Pin::new(&mut watched.stream).poll_write(ctx, bytes)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_bare(ctx))?;
        // The socket's own flush does nothing: it is no sign that the peer takes anything.
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_bare(ctx))?;
        let Self { stream, bare, .. } = &mut *self;
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
        self.poll_writing(ctx, |watched, ctx| {
            if let [head] = slices
                && watched.bare.takes(head)
            {
                return Poll::Ready(Ok(head.len()));
            }
            Pin::new(&mut watched.stream).poll_write_vectored(ctx, slices)
        })
    }
}

#[cfg(test)]
mod tests;

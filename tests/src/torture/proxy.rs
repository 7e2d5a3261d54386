//! A proxy in front of one node that knows where a request of Kafka's protocol begins and which one it is.
//!
//! A request is length, API key, version, correlation id, …; an answer is length, correlation id, …. Nothing else
//! of the protocol is understood here, and no byte is ever changed.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::torture::weather::{Api, Fate, Sight, Weather};

/// Larger than any frame that a client of ours sends or asks for.
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;
const HEADER_BYTES: usize = 8;
/// How long a late request waits for its answer before nobody cares any more.
const LATE_ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What shall happen to answers that are still to come, by correlation id.
type Answers = Arc<Mutex<HashMap<[u8; 4], Fate>>>;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    listening: JoinHandle<()>,
}

/// Where one connection comes from and goes to.
#[derive(Debug, Clone)]
struct Place {
    node: usize,
    behind: SocketAddr,
    weather: Arc<Weather>,
}

impl Proxy {
    /// Begins to listen on `outer` for the node behind `inner`.
    pub async fn start(node: usize, (outer, inner): (u16, u16), weather: Arc<Weather>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, outer)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {outer}"))?;
        let place = Place { node, behind: (Ipv4Addr::LOCALHOST, inner).into(), weather };
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let place = place.clone();
                // A connection that breaks is what a network is for.
                tokio::spawn(async move { drop(place.connect(client).await) });
            }
        });
        Ok(Self { listening })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Place {
    /// Carries one connection until it breaks. Both ends close with it.
    async fn connect(&self, client: TcpStream) -> Result<()> {
        let mut sight = self.weather.sight(self.node);
        ensure!(*sight.borrow() != Sight::Refused, "refused");
        let broker = TcpStream::connect(self.behind).await.context("the node does not listen")?;
        client.set_nodelay(true).and(broker.set_nodelay(true)).context("cannot switch off Nagle's algorithm")?;
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let answers = Answers::default();
        let refused = async {
            // An error says that the run is over.
            drop(sight.wait_for(|sight| *sight == Sight::Refused).await);
            Ok(())
        };
        tokio::select! {
            ended = self.requests(from_client, to_broker, Arc::clone(&answers)) => ended,
            ended = self.answers(from_broker, to_client, answers) => ended,
            ended = refused => ended,
        }
    }

    async fn requests(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: Answers) -> Result<()> {
        let mut sight = self.weather.sight(self.node);
        loop {
            let frame = frame(&mut from).await?;
            ensure!(frame.len() >= 4 + HEADER_BYTES, "a request of {} bytes", frame.len());
            let api = Api(i16::from_be_bytes([frame[4], frame[5]]));
            let correlation = [frame[8], frame[9], frame[10], frame[11]];
            clear(&mut sight).await?;
            match self.weather.fate(self.node, api) {
                Fate::Pass => {}
                Fate::Delay(time) => tokio::time::sleep(time).await,
                Fate::CutBefore => bail!("cut before a request"),
                Fate::Late(time) => {
                    tokio::spawn(deliver_late(self.behind, frame, time));
                    bail!("cut, and the request comes late");
                }
                fate @ (Fate::CutAfter | Fate::Swallow) => {
                    answers.lock().expect("nothing panics while it holds the lock").insert(correlation, fate);
                }
            }
            to.write_all(&frame).await.context("the node hung up")?;
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: Answers) -> Result<()> {
        let mut sight = self.weather.sight(self.node);
        loop {
            let frame = frame(&mut from).await?;
            ensure!(frame.len() >= 8, "an answer of {} bytes", frame.len());
            let correlation = [frame[4], frame[5], frame[6], frame[7]];
            clear(&mut sight).await?;
            let fate = answers.lock().expect("nothing panics while it holds the lock").remove(&correlation);
            match fate {
                Some(Fate::CutAfter) => bail!("cut before an answer"),
                Some(Fate::Swallow) => return lose_all(&mut from).await,
                None | Some(Fate::Pass | Fate::Delay(_) | Fate::CutBefore | Fate::Late(_)) => {}
            }
            to.write_all(&frame).await.context("the client hung up")?;
        }
    }
}

/// A stream has no holes: where one answer is lost, all behind it are, until the client gives up.
async fn lose_all(from: &mut OwnedReadHalf) -> Result<()> {
    loop {
        frame(from).await?;
    }
}

/// Waits while nothing may move.
async fn clear(sight: &mut watch::Receiver<Sight>) -> Result<()> {
    sight.wait_for(|sight| *sight != Sight::Silent).await.context("the run is over")?;
    Ok(())
}

/// A request that got stuck somewhere arrives after all, when its sender has long asked again.
async fn deliver_late(behind: SocketAddr, request: Vec<u8>, after: Duration) -> Result<()> {
    tokio::time::sleep(after).await;
    let mut broker = TcpStream::connect(behind).await.context("the node does not listen")?;
    broker.write_all(&request).await.context("the node hung up")?;
    let (mut answers, _requests) = broker.into_split();
    // Closing at once could take it back.
    tokio::time::timeout(LATE_ANSWER_WITHIN, frame(&mut answers)).await.context("no answer")??;
    Ok(())
}

/// The next frame, with its length in front.
pub(crate) async fn frame(from: &mut OwnedReadHalf) -> Result<Vec<u8>> {
    let mut length = [0_u8; 4];
    from.read_exact(&mut length).await.context("the connection was closed")?;
    let bytes = usize::try_from(i32::from_be_bytes(length)).context("a negative length")?;
    ensure!(bytes <= FRAME_BYTES_MAX, "a frame of {bytes} bytes");
    let mut frame = vec![0; 4 + bytes];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).await.context("the connection was closed")?;
    Ok(frame)
}

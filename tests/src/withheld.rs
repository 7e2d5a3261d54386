//! A proxy in front of one broker that keeps a commit back: its connection breaks, its retry passes, and the request
//! itself arrives in the middle of a later transaction of the same producer. It also says which commits had an epoch
//! of their own, and loses answers to a request to join a group.
//!
//! No byte is changed, and nothing but the beginning of a request is understood, as in `torture/proxy.rs`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::torture::proxy::frame;

/// API keys of Kafka's protocol.
const JOIN_GROUP: i16 = 11;
const INIT_PRODUCER_ID: i16 = 22;
const ADD_OFFSETS: i16 = 25;
const END_TXN: i16 = 26;

/// One request that is kept back.
#[derive(Debug)]
pub struct Withheld {
    /// The `transactional.id` whose request it is.
    whose: String,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// So many of its EndTxn are still to come, the last of which is the one.
    Coming(u32),
    /// Here it is.
    Kept(Vec<u8>),
    /// It goes before the next AddOffsetsToTxn, when every output of that transaction is written.
    Due(Vec<u8>),
    /// It has arrived, and this was the error code of the answer.
    Arrived(i16),
}

impl Withheld {
    /// Has it arrive before the next AddOffsetsToTxn of its producer. An error if there is none.
    pub fn release(&self) -> Result<()> {
        let mut stage = self.stage();
        let Stage::Kept(request) = &mut *stage else { bail!("nothing is kept back: {stage:?}") };
        *stage = Stage::Due(std::mem::take(request));
        Ok(())
    }

    /// The error code it was answered with, if it has arrived.
    pub fn answer(&self) -> Option<i16> {
        if let Stage::Arrived(code) = &*self.stage() { Some(*code) } else { None }
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this request is the one. Then it is kept.
    fn keeps(&self, request: &[u8]) -> bool {
        let mut stage = self.stage();
        let Stage::Coming(left) = &mut *stage else { return false };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        *stage = Stage::Kept(request.to_vec());
        true
    }

    async fn arrive(&self, behind: SocketAddr) -> Result<()> {
        let request =
            if let Stage::Due(request) = &mut *self.stage() { std::mem::take(request) } else { return Ok(()) };
        let mut broker = TcpStream::connect(behind).await.context("the broker does not listen")?;
        broker.write_all(&request).await.context("the broker hung up")?;
        let (mut answers, _requests) = broker.into_split();
        let answer = frame(&mut answers).await?;
        // Length, correlation id, throttle time, error code.
        let code = answer.get(12..14).context("an answer without an error code")?;
        *self.stage() = Stage::Arrived(i16::from_be_bytes([code[0], code[1]]));
        Ok(())
    }
}

/// What the proxy looks for.
#[derive(Debug, Default)]
struct Watch {
    withheld: Mutex<Vec<Arc<Withheld>>>,
    /// Every InitProducerId and EndTxn, whole.
    epochs: Mutex<Vec<(i16, Vec<u8>)>>,
    /// How many answers to a JoinGroup are still to be lost.
    to_lose: AtomicU32,
}

impl Watch {
    fn withheld(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Withheld>>> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the answer to this request shall be lost.
    fn loses(&self, api: i16) -> bool {
        let less = |left: u32| left.checked_sub(1);
        api == JOIN_GROUP && self.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    fn epochs(&self) -> std::sync::MutexGuard<'_, Vec<(i16, Vec<u8>)>> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy. It listens until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    watch: Arc<Watch>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Begins to listen on `outer` for the broker behind `inner`.
    pub async fn start(outer: u16, inner: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, outer)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {outer}"))?;
        let watch: Arc<Watch> = Arc::default();
        let all = Arc::clone(&watch);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that breaks is what this is for.
                let carried = carry(client, (Ipv4Addr::LOCALHOST, inner).into(), Arc::clone(&all));
                tokio::spawn(async move { drop(carried.await) });
            }
        });
        Ok(Self { watch, listening })
    }

    /// Keeps back the nth EndTxn of a `transactional.id`, from now on.
    pub fn withhold(&self, whose: &str, nth: u32) -> Arc<Withheld> {
        let withheld = Withheld { whose: whose.to_owned(), stage: Mutex::new(Stage::Coming(nth)) };
        let withheld = Arc::new(withheld);
        self.watch.withheld().push(Arc::clone(&withheld));
        withheld
    }

    /// Loses the answers to the next so many JoinGroup, and all that follow on the same connections, which stay.
    pub fn lose_joins(&self, count: u32) {
        self.watch.to_lose.store(count, Ordering::SeqCst);
    }

    /// How many of them are still to come.
    pub fn joins_to_lose(&self) -> u32 {
        self.watch.to_lose.load(Ordering::SeqCst)
    }

    /// How many EndTxn of a `transactional.id` came so far, and how many of them were the first since an
    /// InitProducerId.
    pub fn commits(&self, whose: &str) -> (usize, usize) {
        let (mut all, mut own, mut is_fresh) = (0, 0, false);
        for (api, request) in self.watch.epochs().iter() {
            if !request.windows(whose.len()).any(|window| window == whose.as_bytes()) {
                continue;
            }
            if *api == END_TXN {
                all += 1;
                own += usize::from(is_fresh);
            }
            is_fresh = *api == INIT_PRODUCER_ID;
        }
        (all, own)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Carries one connection until it breaks. Both ends close with it.
async fn carry(client: TcpStream, behind: SocketAddr, watch: Arc<Watch>) -> Result<()> {
    let broker = TcpStream::connect(behind).await.context("the broker does not listen")?;
    client.set_nodelay(true).and(broker.set_nodelay(true)).context("cannot switch off Nagle's algorithm")?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let is_lost = AtomicBool::new(false);
    tokio::select! {
        ended = requests((from_client, to_broker), behind, &watch, &is_lost) => ended,
        ended = answers(from_broker, to_client, &is_lost) => ended,
    }
}

async fn requests(
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    behind: SocketAddr,
    watch: &Watch,
    is_lost: &AtomicBool,
) -> Result<()> {
    loop {
        let request = frame(&mut from).await?;
        let api = request.get(4..6).context("a request without an API key")?;
        let api = i16::from_be_bytes([api[0], api[1]]);
        if watch.loses(api) {
            is_lost.store(true, Ordering::SeqCst);
        }
        if matches!(api, INIT_PRODUCER_ID | END_TXN) {
            watch.epochs().push((api, request.clone()));
        }
        if matches!(api, ADD_OFFSETS | END_TXN) {
            let all = watch.withheld().clone();
            for withheld in all.iter().filter(|withheld| is_of(&request, &withheld.whose)) {
                ensure!(api != END_TXN || !withheld.keeps(&request), "cut, and the request is kept back");
                if api == ADD_OFFSETS {
                    withheld.arrive(behind).await?;
                }
            }
        }
        to.write_all(&request).await.context("the broker hung up")?;
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_lost: &AtomicBool) -> Result<()> {
    loop {
        let answer = frame(&mut from).await?;
        if !is_lost.load(Ordering::SeqCst) {
            to.write_all(&answer).await.context("the client hung up")?;
        }
    }
}

/// Whether a request names a `transactional.id`, which stands with its length in front.
fn is_of(request: &[u8], id: &str) -> bool {
    let named: Vec<u8> =
        u16::try_from(id.len()).unwrap_or_default().to_be_bytes().into_iter().chain(id.bytes()).collect();
    request.windows(named.len()).any(|window| window == named)
}

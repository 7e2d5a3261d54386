//! A service that handlers call: what it answers is planned per resource and call, and it counts who was asked for.
//!
//! HTTP/1.1 written out by hand, like the client in `wire`: calls are not judged through the library that makes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What it does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// 200 with [`answer`].
    Good,
    /// Another status.
    Status(u16),
    /// 503, and to be left alone for so many seconds.
    Busy(u32),
    /// Nothing, until the caller gives up.
    Hang,
}

/// What the n-th call (from 0) for a resource is answered.
pub type Plan = Arc<dyn Fn(&str, u32) -> Response + Send + Sync>;

/// A plan that follows from a seed: the first call for an eighth of all resources fails, and of half of those the
/// second as well. Not more, or those who call would be kept from it by their breakers nearly all the time.
pub fn seeded(seed: u64) -> Plan {
    Arc::new(move |resource, call| {
        let draw = draw(seed, resource);
        let trouble = if draw.is_multiple_of(8) { 1 + (draw >> 8) % 2 } else { 0 };
        match (u64::from(call) < trouble, (draw >> (16 + 2 * call.min(16))) % 4) {
            (true, 0) => Response::Hang,
            (true, 1) => Response::Status(500),
            (true, _) => Response::Status(503),
            (false, _) => Response::Good,
        }
    })
}

/// That plan until all is well.
pub fn until(is_well: &Arc<AtomicBool>, plan: Plan) -> Plan {
    let is_well = Arc::clone(is_well);
    Arc::new(move |resource, call| if is_well.load(Ordering::Relaxed) { Response::Good } else { plan(resource, call) })
}

/// The body of a good answer: the same each time.
pub fn answer(resource: &str) -> String {
    format!("{{\"resource\":{},\"score\":{}}}", serde_json::json!(resource), draw(0, resource) % 1000)
}

fn draw(seed: u64, resource: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(resource.as_bytes(), seed)
}

/// A service that runs until it is stopped or dropped. The last segment of a path is the resource.
pub struct FetchTarget {
    address: SocketAddr,
    plan: Plan,
    tls: Option<TlsAcceptor>,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    serving: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for FetchTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchTarget").field("address", &self.address).finish_non_exhaustive()
    }
}

impl FetchTarget {
    /// Starts one on a free port.
    pub async fn start(plan: Plan) -> Result<Self> {
        Self::start_with(plan, None).await
    }

    /// The same over TLS.
    pub async fn start_tls(plan: Plan, config: Arc<ServerConfig>) -> Result<Self> {
        Self::start_with(plan, Some(TlsAcceptor::from(config))).await
    }

    async fn start_with(plan: Plan, tls: Option<TlsAcceptor>) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut target = Self { address, plan, tls, asked: Arc::default(), serving: None };
        target.resume().await?;
        Ok(target)
    }

    /// Its address, as an URL without a path.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How often it was asked for each resource.
    pub fn asked(&self) -> BTreeMap<String, u32> {
        self.asked.lock().expect("nobody panics here").clone()
    }

    /// Takes it down, with all connections: whoever calls is refused.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            serving.await.unwrap_or_default();
        }
    }

    /// Starts it again, at the same address.
    pub async fn resume(&mut self) -> Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.context("cannot start the service that is called")?;
        self.address = listener.local_addr()?;
        let (plan, asked, tls) = (Arc::clone(&self.plan), Arc::clone(&self.asked), self.tls.clone());
        self.serving = Some(tokio::spawn(async move {
            // Dropped with the task, and the connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (plan, asked, tls) = (Arc::clone(&plan), Arc::clone(&asked), tls.clone());
                // A connection that breaks is the caller's to notice.
                connections.spawn(async move {
                    let served = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &plan, &asked).await,
                            Err(_) => Ok(()),
                        },
                        None => serve(stream, &plan, &asked).await,
                    };
                    served.unwrap_or_default();
                });
                while connections.try_join_next().is_some() {}
            }
        }));
        Ok(())
    }
}

impl Drop for FetchTarget {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    plan: &Plan,
    asked: &Mutex<BTreeMap<String, u32>>,
) -> Result<()> {
    let mut read = Vec::new();
    loop {
        // Calls here are GETs: a request is its head.
        let end = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        read.drain(..end + 4);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let resource = path.rsplit('/').next().unwrap_or_default();
        let call = {
            let mut asked = asked.lock().expect("nobody panics here");
            let count = asked.entry(resource.to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        let (status, header, body) = match plan(resource, call) {
            Response::Good => (200, String::new(), answer(resource)),
            Response::Status(status) => (status, String::new(), String::new()),
            Response::Busy(seconds) => (503, format!("Retry-After: {seconds}\r\n"), String::new()),
            Response::Hang => {
                while stream.read_buf(&mut read).await? > 0 {}
                return Ok(());
            }
        };
        let length = body.len();
        let text = format!("HTTP/1.1 {status} Planned\r\n{header}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Client, Request};

    #[tokio::test]
    async fn it_answers_by_plan_counts_and_can_be_taken_down() {
        let plan: Plan = Arc::new(|resource, call| match (resource, call) {
            ("gone", _) => Response::Status(404),
            (_, 0) => Response::Busy(7),
            (_, _) => Response::Good,
        });
        let mut target = FetchTarget::start(plan).await.expect("started");
        let client = Client::new(target.address);
        let first = client.send(&Request::get("/v1/a?x=y")).await.expect("an answer");
        assert_eq!((first.status, first.header("retry-after")), (503, Some("7")));
        let second = client.send(&Request::get("/a")).await.expect("an answer");
        assert_eq!((second.status, second.text()), (200, answer("a")));
        assert_eq!(client.send(&Request::get("/gone")).await.expect("an answer").status, 404);
        assert_eq!(target.asked(), [("a".to_owned(), 2), ("gone".to_owned(), 1)].into());
        target.stop().await;
        assert!(client.send(&Request::get("/a")).await.is_err());
        target.resume().await.expect("the same address");
        assert_eq!(Client::new(target.address).send(&Request::get("/a")).await.expect("an answer").status, 200);
    }

    #[test]
    fn a_seeds_plan_is_the_same_each_time_and_ends_well() {
        let (one, other) = (seeded(7), seeded(7));
        let resources: Vec<String> = (0..500).map(|number| format!("r-{number}")).collect();
        let mut met = [0; 3];
        for resource in &resources {
            for call in 0..5 {
                let response = one(resource, call);
                assert_eq!(response, other(resource, call));
                met[match response {
                    Response::Good => 0,
                    Response::Status(_) | Response::Busy(_) => 1,
                    Response::Hang => 2,
                }] += 1;
            }
            assert_eq!(one(resource, 2), Response::Good, "{resource}");
        }
        assert!(met.iter().all(|count| *count > 0), "{met:?}");
    }
}

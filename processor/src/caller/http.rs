//! One call over HTTP: made once, never redirected, never through a proxy, and no longer or larger than it may be.
//!
//! An address is checked where it is resolved, so that the address that was checked is the one that is connected to.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Url, redirect};

use super::address;
use super::breaker::Outcome;
use crate::call::{Call, Reply};
use crate::retry::classify::{self, Verdict};

/// Longest time to connect. The time of the whole call ends it earlier.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// Clients for both sorts of calls, each with connections of its own.
#[derive(Debug)]
pub struct Clients {
    public: Client,
    any: Client,
}

impl Clients {
    /// Clients without connections. Without certificates of authorities on this machine every HTTPS call fails.
    pub fn new() -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        if taken == 0 {
            tracing::info!("no certificates of authorities on this machine: handlers cannot call HTTPS");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(redirect::Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        };
        let public = client().dns_resolver(PublicOnly).build().context("cannot set up the HTTP client")?;
        let any = client().build().context("cannot set up the HTTP client")?;
        Ok(Self { public, any })
    }

    /// Makes a call: what came of it, and what that says about its host.
    pub async fn make(&self, call: Call) -> (Reply, Outcome) {
        let time = Duration::from_millis(call.timeout_ms);
        match tokio::time::timeout(time, self.exchange(call)).await {
            Ok(Ok((reply, outcome))) => (reply, outcome),
            Ok(Err(NotMade(message))) => (Reply::Refused { message }, Outcome::Nothing),
            Err(_) => failed(format!("no answer within {} ms", time.as_millis())),
        }
    }

    async fn exchange(&self, call: Call) -> Result<(Reply, Outcome), NotMade> {
        let (may_be_private, body_max) = (call.may_be_private, call.body_max);
        let client = if may_be_private { &self.any } else { &self.public };
        let mut response = match client.execute(request(call)?).await {
            Ok(response) => response,
            Err(error) => {
                return match forbidden(&error) {
                    Some(forbidden) => Err(NotMade(forbidden.to_string())),
                    None => Ok(failed(format!("the call failed: {}", cause(&error)))),
                };
            }
        };
        let status = response.status().as_u16();
        let headers: Vec<(String, String)> = response.headers().iter().filter_map(text).collect();
        let outcome = outcome(status, &headers);
        let too_long = || Reply::Refused { message: format!("the answer has more than {body_max} bytes") };
        if response.content_length().is_some_and(|length| length > body_max as u64) {
            return Ok((too_long(), outcome));
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > body_max => return Ok((too_long(), outcome)),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok((Reply::Answered { status, headers, body }, outcome)),
                Err(error) => return Ok(failed(format!("the answer broke off: {}", cause(&error)))),
            }
        }
    }
}

/// A call that must not be made, or cannot be: another try would end the same.
struct NotMade(String);

fn failed(message: String) -> (Reply, Outcome) {
    (Reply::Failed { message }, Outcome::Failure { retry_after_ms: None })
}

fn request(call: Call) -> Result<Request, NotMade> {
    let url = address_of(&call.url).map_err(NotMade)?;
    if !call.may_be_private
        && let Some(address) = literal(&url)
        && let Some(kind) = address::refuses(address)
    {
        return Err(NotMade(Forbidden { host: address.to_string(), address, kind }.to_string()));
    }
    let method = Method::from_bytes(call.method.as_bytes());
    let mut request = Request::new(method.map_err(|_| NotMade("its method is none".to_owned()))?, url);
    let headers = headers(&call.headers).ok_or_else(|| NotMade("a header field of it is none".to_owned()))?;
    request.headers_mut().extend(headers);
    if !call.body.is_empty() {
        *request.body_mut() = Some(call.body.into());
    }
    Ok(request)
}

/// The parts of an address, if it is one that is called.
pub fn address_of(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("its address is none: {error}"))?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if is_web { Ok(url) } else { Err("its address is neither http:// nor https://".to_owned()) }
}

fn headers(list: &[(String, String)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        let mut value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        value.set_sensitive(true);
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(headers)
}

fn text((name, value): (&HeaderName, &HeaderValue)) -> Option<(String, String)> {
    Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
}

/// What a status says about its host: a refusal of this one request says nothing against it.
fn outcome(status: u16, headers: &[(String, String)]) -> Outcome {
    match classify::classify(status) {
        Verdict::Transient => Outcome::Failure { retry_after_ms: classify::retry_after_ms(headers) },
        Verdict::Success | Verdict::Permanent | Verdict::Unknown => Outcome::Success,
    }
}

/// The innermost reason: those around it say that a request failed, and quote its address.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// An address that is written as one. The resolver never sees it.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// An address that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("{host} is not called: {address} is not a public address ({kind}), and allow_private is not set")]
struct Forbidden {
    host: String,
    address: IpAddr,
    kind: &'static str,
}

fn forbidden(error: &reqwest::Error) -> Option<&Forbidden> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Forbidden>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Resolves names to public addresses only.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> =
                found.iter().copied().filter(|found| address::refuses(found.ip()).is_none()).collect();
            if public.is_empty()
                && let Some(address) = found.first().map(SocketAddr::ip)
                && let Some(kind) = address::refuses(address)
            {
                return Err(Forbidden { host: name.as_str().to_owned(), address, kind }.into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

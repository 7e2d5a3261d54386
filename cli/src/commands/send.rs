//! `weir send`: plays the provider of a source, with test events that are authentic.
//!
//! The first secret signs. What goes out is decided in `request`, byte by byte; here it is read, sent and told.

mod edit;
mod example;
mod request;
mod deliver;
mod answer;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, anyhow};
use http::{HeaderName, HeaderValue, Uri};
use runtime::config::{Config, Source};
use runtime::report::{Exit, Failure};
use runtime::shutdown::Shutdown;
use serde::Serialize;

use self::answer::Teller;
use self::deliver::Delivery;
use self::request::{Request, Turn, Wish};
use crate::args::SendArgs;
use crate::ask;
use crate::http::Poster;
use crate::output::{Output, Row};

/// Runs the command.
pub fn run(config: &Config, options: &SendArgs, out: &mut Output<'_>) -> Result<Exit, Failure> {
    let source = find(config, &options.source)?;
    let body = options.body.as_deref().map(super::read_body).transpose()?;
    let to = address(options.url.as_deref(), config.ingest.listen, &source.name)?;
    let wish = Wish {
        source,
        body: body.as_deref(),
        id: options.id.as_deref(),
        event_type: options.event_type.as_deref(),
        count: options.count,
    };
    // The first one shows whether any can be made, before anything is sent.
    let first = make(&wish, 1)?;
    if options.dry_run {
        out.one(&Draft::of(&to, first))?;
        return Ok(Exit::Done);
    }
    let tokio = super::tokio_runtime()?;
    let poster = Poster::to(to);
    let shutdown = Shutdown::new();
    tokio.block_on(async { shutdown.listen() });
    let delivery = Delivery { poster, wish: &wish, rate: options.rate, shutdown: &shutdown };
    let mut teller = Teller::new(out, options.count);
    tokio.block_on(delivery.run(first, &mut teller))?;
    let summary = teller.end()?;
    if options.count > 1 {
        ask::say(&format!("{}\n", summary.text()))?;
    }
    Ok(if summary.is_all_accepted() { Exit::Done } else { Exit::No })
}

fn make(wish: &Wish<'_>, number: u64) -> Result<Request, Failure> {
    let turn = Turn { number, now_ms: runtime::clock::now_ms(), random: rand::random() };
    let request = request::make(wish, turn).map_err(Failure::usage)?;
    request.headers.iter().try_for_each(|(name, value)| can_be_sent(name, value)).map_err(Failure::usage)?;
    Ok(request)
}

/// Whether HTTP can carry a header, and the door reads what was signed.
fn can_be_sent(name: &str, value: &str) -> anyhow::Result<()> {
    HeaderName::try_from(name).with_context(|| format!("no header can be called {name:?}"))?;
    // From the bytes, as the client does it: other letters than ASCII can be sent.
    let is_value = HeaderValue::from_bytes(value.as_bytes()).is_ok();
    // Spaces around a value are none of it.
    if is_value && value.trim_matches([' ', '\t']) == value {
        return Ok(());
    }
    Err(anyhow!("--id, --type: the header {name} cannot hold {value:?}"))
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Source, Failure> {
    config.sources.iter().find(|source| source.name == name).ok_or_else(|| {
        let known: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
        let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
        Failure::usage(anyhow!("--source: no [[source]] is called {name:?}; there are: {known}"))
    })
}

/// Where events of a source go: an address without a path gets the source's.
fn address(url: Option<&str>, listen: SocketAddr, source: &str) -> Result<Uri, Failure> {
    let base = url.map_or_else(|| format!("http://{}", reachable(listen)), str::to_owned);
    let uri: Uri = base.parse().with_context(|| format!("--url: {base}")).map_err(Failure::usage)?;
    if uri.scheme_str() != Some("http") || uri.authority().is_none() {
        let fix = "give the plain address of weir-ingest, e.g. http://127.0.0.1:8080";
        return Err(Failure::usage(anyhow!("--url: {base} is not an http:// address: {fix}")));
    }
    if uri.path() != "/" {
        return Ok(uri);
    }
    let whole = format!("{}/hooks/{source}", base.trim_end_matches('/'));
    whole.parse().with_context(|| format!("--url: {whole}")).map_err(Failure::usage)
}

/// An address to listen on as one to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A request that is not sent.
#[derive(Debug, Serialize)]
struct Draft {
    method: &'static str,
    url: String,
    headers: Vec<String>,
    event_id: Option<String>,
    body: String,
}

impl Row for Draft {
    const COLUMNS: &'static [&'static str] = &["method", "url", "headers", "event_id", "body"];
}

impl Draft {
    fn of(to: &Uri, request: Request) -> Self {
        Self {
            method: "POST",
            url: to.to_string(),
            headers: request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect(),
            event_id: request.event_id,
            body: String::from_utf8_lossy(&request.body).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests;

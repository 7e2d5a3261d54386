//! One test event: its body, its headers and its signature, as the provider of a source would make them.
//!
//! Pure: the time and the random bits of the id are passed in. A body that was given is changed only where an
//! option or the configuration asks for it.

use anyhow::{Context, anyhow, bail};
use runtime::config::{Place, Source};
use schemas::presets::TimeUnit;
use schemas::time;

use super::edit;
use super::example::{self, Example};

/// Where events differ that have nothing else to differ in.
const NUMBER: &str = "/weir_send";

/// What is wanted of every event of a run.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The source it is sent to.
    pub source: &'a Source,
    /// The body that was given.
    pub body: Option<&'a [u8]>,
    /// The id that was given.
    pub id: Option<&'a str>,
    /// The type that was given.
    pub event_type: Option<&'a str>,
    /// How many events there will be.
    pub count: u64,
}

/// What makes one event of a run different from the others.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Which one it is, from 1.
    pub number: u64,
    /// Now, milliseconds since the epoch.
    pub now_ms: i64,
    /// Random bits for its id.
    pub random: u128,
}

/// An event, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id, where it is known.
    pub event_id: Option<String>,
    /// HTTP headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Makes one event.
pub fn make(wish: &Wish<'_>, turn: Turn) -> anyhow::Result<Request> {
    let example = example::of(wish.source.preset.name);
    let mut draft = Draft::new(wish, &example);
    draft.set_type(wish, &example)?;
    let id = draft.set_id(wish, &example, turn)?;
    if wish.body.is_none() {
        draft.complete(wish.source, turn.now_ms)?;
    }
    let signing_id = id.clone().unwrap_or_default();
    let Draft { mut headers, body } = draft;
    for (name, value) in ingest::sign::sign(wish.source, &signing_id, turn.now_ms.div_euclid(1000), &body) {
        headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        headers.push((name, value));
    }
    Ok(Request { event_id: id, headers, body })
}

struct Draft {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Draft {
    fn new(wish: &Wish<'_>, example: &Example) -> Self {
        let body = wish.body.unwrap_or(example.body.as_bytes()).to_vec();
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok();
        let content_type = if is_json { "application/json" } else { "application/octet-stream" };
        let headers = vec![
            ("content-type".to_owned(), content_type.to_owned()),
            ("user-agent".to_owned(), concat!("weir-send/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        Self { headers, body }
    }

    fn set_type(&mut self, wish: &Wish<'_>, example: &Example) -> anyhow::Result<()> {
        let source = wish.source;
        let is_missing = match &source.event_type {
            Place::Header(_) => true,
            Place::Pointer(pointer) => wish.body.is_none() && self.get(pointer).is_none(),
            Place::Constant(_) => false,
        };
        let Some(event_type) = wish.event_type.or(is_missing.then_some(example.event_type)) else {
            return Ok(());
        };
        let suffixed = source.event_type_suffix.as_deref().zip(event_type.split_once('.'));
        let main = suffixed.map_or(event_type, |(_, (main, _))| main);
        match &source.event_type {
            Place::Header(name) => self.headers.push((name.clone(), main.to_owned())),
            Place::Pointer(pointer) => self.set(pointer, &edit::quoted(main)).context("--type")?,
            Place::Constant(constant) if constant == main => {}
            Place::Constant(constant) => {
                bail!("--type: every event of {} is a {constant:?}, so it cannot be {main:?}", source.name)
            }
        }
        // A body that was given says itself what happened, unless the type was given too.
        if let Some((pointer, (_, suffix))) = suffixed.filter(|_| wish.event_type.is_some() || wish.body.is_none()) {
            self.set(pointer, &edit::quoted(suffix)).context("--type")?;
        }
        Ok(())
    }

    /// Sets the id, if it was given or has to be new; tells which it is.
    fn set_id(&mut self, wish: &Wish<'_>, example: &Example, turn: Turn) -> anyhow::Result<Option<String>> {
        let Place::Pointer(pointer) = &wish.source.event_id else {
            let id = wish.id.map_or_else(|| example.id.make(turn.random), str::to_owned);
            if let Place::Header(name) = &wish.source.event_id {
                self.headers.push((name.clone(), id.clone()));
            }
            // Another id is another event; another body makes it one for a source that looks at the body, too.
            if wish.count > 1 && wish.id.is_none() && self.body.first() == Some(&b'{') {
                self.set(NUMBER, &turn.number.to_string())?;
            }
            return Ok(Some(id));
        };
        let is_new = wish.body.is_none() || wish.count > 1;
        let made = || is_new.then(|| example.id.make(turn.random));
        match wish.id.map(str::to_owned).or_else(made) {
            Some(id) => {
                let is_number = self.get(pointer).is_some_and(|old| old.parse::<i64>().is_ok());
                let value = if is_number && id.parse::<i64>().is_ok() { id.clone() } else { edit::quoted(&id) };
                self.set(pointer, &value).context("--id")?;
                Ok(Some(id))
            }
            None => {
                let found = self.get(pointer);
                Ok(found.map(|json| serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())))
            }
        }
    }

    /// Adds to an example what its source looks at: the time, which is now, and a resource.
    fn complete(&mut self, source: &Source, now_ms: i64) -> anyhow::Result<()> {
        if let Some((place, unit)) = source.occurred_at.first() {
            self.put(place, &moment(now_ms, *unit))?;
        }
        if !source.resource.iter().any(|place| self.has(place))
            && let Some(place) = source.resource.first()
        {
            self.put(place, &edit::quoted("example-1"))?;
        }
        if !self.has(&source.resource_type) {
            self.put(&source.resource_type, &edit::quoted("example"))?;
        }
        Ok(())
    }

    fn has(&self, place: &Place) -> bool {
        match place {
            Place::Pointer(pointer) => self.get(pointer).is_some(),
            Place::Header(name) => self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)),
            Place::Constant(_) => true,
        }
    }

    fn put(&mut self, place: &Place, json: &str) -> anyhow::Result<()> {
        match place {
            Place::Pointer(pointer) => self.set(pointer, json),
            Place::Header(name) => {
                self.headers.push((name.clone(), json.trim_matches('"').to_owned()));
                Ok(())
            }
            Place::Constant(_) => Ok(()),
        }
    }

    fn get(&self, pointer: &str) -> Option<&str> {
        edit::get(std::str::from_utf8(&self.body).ok()?, pointer)
    }

    fn set(&mut self, pointer: &str, json: &str) -> anyhow::Result<()> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|_| anyhow!("the body is not UTF-8, so {pointer} cannot be set in it"))?;
        self.body = edit::set(text, pointer, json)?.into_bytes();
        Ok(())
    }
}

/// A time as JSON.
fn moment(now_ms: i64, unit: TimeUnit) -> String {
    match unit {
        TimeUnit::Rfc3339 => edit::quoted(&time::rfc3339(now_ms)),
        TimeUnit::Seconds => now_ms.div_euclid(1000).to_string(),
        TimeUnit::Milliseconds => now_ms.to_string(),
        TimeUnit::Microseconds => now_ms.saturating_mul(1000).to_string(),
    }
}

#[cfg(test)]
mod tests;

//! What an expression sees of an event: `event`, `body` and `headers`, each made only if it is used.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Value};
use runtime::expression::{self, Expression};
use schemas::{VerifiedEvent, partition, time};

/// The variables of some expressions about one event.
pub(super) struct Scope(Context<'static, 'static>);

impl Scope {
    /// What these expressions see.
    pub(super) fn new<'x>(
        event: &VerifiedEvent<'_>,
        key: &[u8],
        expressions: impl IntoIterator<Item = &'x Expression> + Clone,
    ) -> Self {
        let is_used = |name: &str| expressions.clone().into_iter().any(|expression| expression.uses(name));
        let mut context = expression::context();
        if is_used("event") {
            context.add_variable_from_value("event", facts(event, key));
        }
        if is_used("body") {
            context.add_variable_from_value("body", body(event.body));
        }
        if is_used("headers") {
            context.add_variable_from_value("headers", headers(event));
        }
        Self(context)
    }

    /// The value of one of them.
    pub(super) fn value(&self, expression: &Expression) -> Result<Value, String> {
        expression.value(&self.0)
    }

    /// The value of one that is true or false.
    pub(super) fn truth(&self, expression: &Expression) -> Result<bool, String> {
        let value = self.value(expression)?;
        if let Value::Bool(truth) = value {
            return Ok(truth);
        }
        Err(format!("is neither true nor false, but {}", value.type_of()))
    }

    /// The value of one that becomes part of an address.
    pub(super) fn text(&self, expression: &Expression) -> Result<String, String> {
        let said = |message: String| format!("{{{}}}: {message}", expression.text());
        let value = self.value(expression).map_err(said)?;
        if let Value::String(text) = &value {
            return Ok(text.as_ref().clone());
        }
        match (value.json(), &value) {
            (Ok(json), Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Bool(_)) => Ok(json.to_string()),
            _ => Err(said(format!("is no text and no number, but {}", value.type_of()))),
        }
    }
}

/// A value as JSON. `room` is what it may take, bytes: lists inside of lists that an expression repeats would grow
/// beyond all bounds.
pub(super) fn json(value: &Value, room: &mut usize) -> Result<serde_json::Value, String> {
    let mut take = |bytes: usize| {
        let left = room.checked_sub(bytes + size_of::<serde_json::Value>());
        left.map(|left| *room = left).ok_or_else(|| "the value is too large".to_owned())
    };
    match value {
        Value::List(items) => {
            take(0)?;
            items.iter().map(|item| json(item, room)).collect()
        }
        Value::Map(map) => {
            take(0)?;
            let fields = map.map.iter().map(|(key, value)| Ok((key.to_string(), json(value, room)?)));
            fields.collect::<Result<serde_json::Map<_, _>, String>>().map(serde_json::Value::Object)
        }
        Value::String(text) => {
            take(text.len())?;
            Ok(text.as_str().into())
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Function(..)
        | Value::Opaque(_)
        | Value::Struct(_) => {
            take(0)?;
            value.json().map_err(|_| format!("JSON has no {}", value.type_of()))
        }
    }
}

fn facts(event: &VerifiedEvent<'_>, key: &[u8]) -> Value {
    let (resource_type, resource) = partition::resource(key);
    let fields: [(&str, Value); 11] = [
        ("id", event.event_id.into()),
        ("type", event.event_type.into()),
        ("source", event.source.into()),
        ("preset", event.preset.into()),
        ("resource", resource.into()),
        ("resource_type", resource_type.into()),
        ("time", event.occurred_at_ms.map(time::rfc3339).map_or(Value::Null, Value::from)),
        ("time_signed", Value::Bool(event.occurred_at_signed)),
        ("received", time::rfc3339(event.received_at_ms).into()),
        ("content_type", event.content_type.into()),
        ("assurance", Value::Int(event.assurance.into())),
    ];
    map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

/// The body as JSON; null when it is none.
fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).map_or(Value::Null, value)
}

fn headers(event: &VerifiedEvent<'_>) -> Value {
    let texts = event.http_headers.iter().filter_map(|(name, value)| {
        let text = std::str::from_utf8(value).ok()?;
        Some((name.to_ascii_lowercase(), text.into()))
    });
    map(texts)
}

/// Whole numbers are `int` wherever they fit, so that they compare and add up with those in expressions.
fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(truth),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => number.as_f64().map_or(Value::Null, Value::Float),
        },
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.into_iter().map(value).collect())),
        serde_json::Value::Object(fields) => map(fields.into_iter().map(|(name, json)| (name, value(json)))),
    }
}

fn map(fields: impl Iterator<Item = (String, Value)>) -> Value {
    let fields: HashMap<Key, Value> = fields.map(|(name, value)| (name.into(), value)).collect();
    Value::Map(Map { map: Arc::new(fields) })
}

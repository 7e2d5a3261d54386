//! `kind = "map"`: makes a new body, field by field.

use runtime::expression::Expression;
use schemas::VerifiedEvent;

use super::rejected;
use super::scope::{self, Scope};
use crate::step::handle::{Answer, Handler};

/// What the fields of a new body may take in memory, bytes: more than the largest body that is taken anywhere.
const ROOM: usize = 64 * 1024 * 1024;

/// Makes a new body.
pub(super) struct Map {
    pub(super) name: String,
    pub(super) body: Vec<(String, Expression)>,
}

impl Map {
    fn fields(&self, event: &VerifiedEvent<'_>, key: &[u8]) -> Result<Vec<u8>, String> {
        let scope = Scope::new(event, key, self.body.iter().map(|(_, expression)| expression));
        let mut fields = serde_json::Map::new();
        let mut room = ROOM;
        for (field, expression) in &self.body {
            let said = |message: String| format!("body.{field}: {message}");
            let value = scope.value(expression).map_err(said)?;
            let json = scope::json(&value, &mut room).map_err(said)?;
            fields.insert(field.clone(), json);
        }
        serde_json::to_vec(&fields).map_err(|error| error.to_string())
    }
}

impl Handler for Map {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&self, event: &VerifiedEvent<'_>) -> Answer {
        self.handle_keyed(event, b"")
    }

    fn handle_keyed(&self, event: &VerifiedEvent<'_>, key: &[u8]) -> Answer {
        match self.fields(event, key) {
            Ok(body) => Answer::EmitBody(body),
            Err(message) => rejected(&self.name, &message),
        }
    }
}

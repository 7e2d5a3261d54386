//! Record bytes to event, or a death with its reason. Borrows everything from the record.

use schemas::{ReasonCode, VerifiedEvent};

use super::Input;
use super::route::Death;

/// Decodes a record of `verified-events`.
pub fn decode<'a>(input: &Input<'a>) -> Result<VerifiedEvent<'a>, Death> {
    VerifiedEvent::decode(input.value).map_err(|error| Death {
        reason: ReasonCode::Undecodable,
        message: error.to_string(),
        stage: "decode",
    })
}

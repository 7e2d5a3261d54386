//! Events that a torn transaction had given up, while it emitted later ones of their resources.
//!
//! Done again, their handlers may answer otherwise, and they would come out late. What is visible can't be taken back, so
//! they stay given up: a dead letter can be redriven by who knows better.

use std::collections::HashMap;

use super::Effects;
use crate::state::ResourceHash;
use crate::step::Input;
use crate::step::order::short_hash;

/// How far each resource had come.
#[derive(Debug, Default)]
pub(super) struct Overtaken(HashMap<ResourceHash, i64>);

impl Overtaken {
    /// By what is visible, which then has told all. With `is_overtaking` events pass each other anyway.
    pub(super) fn by(effects: &mut Effects, is_overtaking: bool) -> Self {
        let passed = std::mem::take(&mut effects.passed).into_iter();
        let torn = passed.filter(|(offset, _)| !is_overtaking && effects.places.contains_key(&(*offset, 0)));
        // In the order of offsets: the last one counts.
        Self(torn.map(|(offset, resource)| (resource, offset)).collect())
    }

    /// Whether a later event of its resource is visible.
    pub(super) fn has(&self, input: &Input<'_>) -> bool {
        !self.0.is_empty() && self.0.get(&short_hash(input.key)).is_some_and(|offset| *offset > input.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Place;

    fn input(offset: i64, key: &[u8]) -> Input<'_> {
        Input { partition: 0, offset, timestamp: 0, key, value: b"" }
    }

    #[test]
    fn what_lies_before_a_visible_event_of_its_resource_is_overtaken() {
        let passed = [(4, "a"), (6, "a"), (7, "b"), (2, "c")].map(|(offset, key)| (offset, short_hash(key.as_bytes())));
        // The one of c was made up for before: it is not torn.
        let places = [4, 6, 7].map(|offset| ((offset, 0), Place::Clean));
        let effects = Effects { places: places.into(), passed: passed.into(), ..Effects::default() };
        let overtaken = Overtaken::by(&mut effects.clone(), false);
        assert!(overtaken.has(&input(3, b"a")) && overtaken.has(&input(5, b"a")) && overtaken.has(&input(6, b"b")));
        assert!(!overtaken.has(&input(6, b"a")) && !overtaken.has(&input(8, b"b")));
        assert!(!overtaken.has(&input(1, b"c")) && !overtaken.has(&input(1, b"d")));
        assert!(!Overtaken::by(&mut effects.clone(), true).has(&input(3, b"a")), "order is not asked for");
    }
}

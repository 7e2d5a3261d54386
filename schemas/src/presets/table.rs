//! The presets. One entry a provider; alphabetical.

use super::Preset;

pub(super) const PRESETS: &[Preset] = &[];

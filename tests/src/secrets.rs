//! The secrets of a run: two for each source, as in the middle of a rotation.
//!
//! They follow from the seed, lie in files that `weir.toml` names, and sign what the providers send.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rand::RngExt;

use crate::seed::random;
use crate::sources::{SCHEMA, SCHEMA_FILE, Source};

/// Both secrets of every source.
#[derive(Debug, Clone)]
pub struct Secrets {
    of: BTreeMap<Source, [String; 2]>,
}

/// Which of a source's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// The one that is in use.
    New,
    /// The one that is being retired, and still holds.
    Old,
}

impl Secrets {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = random(seed, "secrets");
        let mut secret = |source: Source| source.scheme().secret(random.random());
        Self { of: Source::ALL.map(|source| (source, [secret(source), secret(source)])).into() }
    }

    /// The key that a source's provider signs with.
    pub fn key(&self, source: Source, age: Age) -> Vec<u8> {
        let [new, old] = &self.of[&source];
        source.scheme().key(match age {
            Age::New => new,
            Age::Old => old,
        })
    }

    /// Writes them where `Source::toml` says they are, for no other user's eyes, and the JSON Schema beside them.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for (source, secrets) in &self.of {
            for (secret, suffix) in secrets.iter().zip(["", "-old"]) {
                let path = folder.join(format!("{}{suffix}", source.name()));
                fs::write(&path, format!("{secret}\n")).with_context(|| format!("cannot write {}", path.display()))?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                    .with_context(|| format!("cannot protect {}", path.display()))?;
            }
        }
        fs::write(folder.join(SCHEMA_FILE), SCHEMA).context("cannot write the JSON Schema")
    }
}

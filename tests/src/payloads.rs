//! Example bodies: GitHub's own, from the npm package that GitHub's octokit project publishes, and ours.
//!
//! The package is pinned by version and checked by its integrity hash before anything in it is believed. Where
//! it cannot be had, the bodies that we wrote ourselves take its place, and the run says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::sources::Source;

mod own;

const PACKAGE: &str = "@octokit/webhooks-examples@7.6.1";
const INTEGRITY: &str = "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==";
const ARCHIVE: &str = "octokit-webhooks-examples-7.6.1.tgz";
const INDEX: &str = "package/api.github.com/index.json";

/// One example.
#[derive(Debug, Clone)]
pub struct Template {
    /// Whose.
    pub source: Source,
    /// The provider's type; for GitHub the value of its header.
    pub event_type: String,
    /// The body.
    pub body: Value,
}

/// All examples of a run.
#[derive(Debug)]
pub struct Payloads {
    /// The examples.
    pub templates: Vec<Template>,
    /// Where GitHub's come from, for people.
    pub origin: String,
}

impl Payloads {
    /// Only the bodies that we wrote.
    pub fn own(why: &str) -> Self {
        Self { templates: own::templates(), origin: format!("payloads written for Weir ({why})") }
    }

    /// GitHub's own bodies where they can be had, ours for the rest.
    pub fn fetch(cache: &Path) -> Self {
        match octokit(cache) {
            Ok(examples) => {
                let origin = format!("{} examples of {PACKAGE}", examples.len());
                let mut templates = own::templates();
                templates.retain(|template| template.source != Source::Github);
                templates.extend(examples);
                Self { templates, origin }
            }
            Err(error) => Self::own(&format!("{error:#}")),
        }
    }
}

/// Where downloads are kept between runs: `WEIR_CACHE`, or the user's cache folder.
pub fn cache_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("WEIR_CACHE") {
        return folder.into();
    }
    match std::env::var_os("HOME") {
        Some(home) => Path::new(&home).join(".cache/weir"),
        None => PathBuf::from("target/cache"),
    }
}

fn octokit(cache: &Path) -> Result<Vec<Template>> {
    let archive = cache.join(ARCHIVE);
    if !archive.exists() {
        download(cache)?;
    }
    let bytes = std::fs::read(&archive).context("cannot read the package")?;
    if STANDARD.encode(Sha512::digest(&bytes)) != INTEGRITY {
        std::fs::remove_file(&archive).context("cannot remove a damaged package")?;
        bail!("{PACKAGE} does not have the pinned hash; it was removed");
    }
    let index = Command::new("tar").arg("-xzOf").arg(&archive).arg(INDEX).output().context("tar cannot be run")?;
    ensure!(index.status.success(), "tar cannot unpack {PACKAGE}");
    examples(&serde_json::from_slice(&index.stdout).context("the package's index is not JSON")?)
}

fn download(cache: &Path) -> Result<()> {
    std::fs::create_dir_all(cache).context("cannot create the cache folder")?;
    // Into a folder of its own first: two runs at once must not see half a file.
    let place = tempfile::tempdir_in(cache).context("cannot write to the cache folder")?;
    let done = Command::new("npm")
        .args(["pack", PACKAGE, "--silent", "--fetch-retries=0", "--fetch-timeout=20000", "--pack-destination"])
        .arg(place.path())
        .stdin(std::process::Stdio::null())
        .output()
        .context("npm is absent")?;
    ensure!(done.status.success(), "npm could not fetch {PACKAGE}");
    std::fs::rename(place.path().join(ARCHIVE), cache.join(ARCHIVE)).context("npm left no package")
}

fn examples(index: &Value) -> Result<Vec<Template>> {
    let mut templates = Vec::new();
    for entry in index.as_array().context("the package's index is no list")? {
        let event_type = entry["name"].as_str().context("an example without a name")?;
        for body in entry["examples"].as_array().context("a type without examples")? {
            let template = Template { source: Source::Github, event_type: event_type.to_owned(), body: body.clone() };
            templates.push(template);
        }
    }
    ensure!(templates.len() > 100, "the package holds only {} examples", templates.len());
    Ok(templates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_several_types_of_our_own() {
        let own = Payloads::own("test");
        for source in Source::ALL {
            let types = own.templates.iter().filter(|template| template.source == source).count();
            assert!(types >= 3, "{source:?} has {types}");
        }
    }

    #[test]
    fn a_package_with_another_hash_is_not_believed() {
        let cache = tempfile::tempdir().expect("a folder");
        std::fs::write(cache.path().join(ARCHIVE), b"something else").expect("written");
        let payloads = Payloads::fetch(cache.path());
        assert!(payloads.origin.contains("pinned hash"), "{}", payloads.origin);
        assert!(!cache.path().join(ARCHIVE).exists());
    }
}

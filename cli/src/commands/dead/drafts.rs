//! Edited bodies that wait for their redrive: one file each in a folder of this user's.
//!
//! ```text
//! <folder>/3-1742-0.9f86d081884c7d65     dead id, and the first 64 bits of the SHA-256 of the original value
//! ```
//! The hash ties an edit to the very record it was made from: the same dead id in another installation is another
//! letter, and must not get this body. A file is written beside its place and moved there, so it is whole or absent.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use runtime::report::Failure;
use schemas::{DeadEvent, DeadId, identity};

use crate::args::dead::DraftsArgs;

/// The folder.
#[derive(Debug, Clone)]
pub struct Drafts {
    folder: PathBuf,
    /// Letters that have a draft: almost none has one, and looking costs a file each.
    known: HashSet<DeadId>,
}

impl Drafts {
    /// The folder of a command line, or the user's, to keep drafts in.
    pub fn open(options: &DraftsArgs) -> Result<Self, Failure> {
        let folder = folder_of(options);
        Self::in_folder(
            folder.ok_or_else(|| Failure::usage(anyhow!("there is no $HOME to keep drafts in: use --drafts")))?,
        )
    }

    /// What there is of drafts. Who has no folder has none.
    pub fn existing(options: &DraftsArgs) -> Result<Self, Failure> {
        let none = Self { folder: PathBuf::new(), known: HashSet::new() };
        folder_of(options).map_or(Ok(none), Self::in_folder)
    }

    fn in_folder(folder: PathBuf) -> Result<Self, Failure> {
        let mut known = HashSet::new();
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(|error| cannot("read", &folder, error))?.file_name();
                    known.extend(name.to_str().and_then(|name| DeadId::parse(name.split('.').next()?)));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("read", &folder, error)),
        }
        Ok(Self { folder, known })
    }

    /// Where the draft of a letter is, or would be.
    pub fn path(&self, id: DeadId, dead: &DeadEvent<'_>) -> PathBuf {
        let digest = identity::sha256(dead.original_value.unwrap_or_default());
        let hash = digest.iter().take(8).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
        self.folder.join(format!("{id}.{hash:016x}"))
    }

    /// The edited body of a letter, if there is one.
    pub fn read(&self, id: DeadId, dead: &DeadEvent<'_>) -> Result<Option<Vec<u8>>, Failure> {
        if !self.known.contains(&id) {
            return Ok(None);
        }
        found(&self.path(id, dead))
    }

    /// Whether a letter has an edited body.
    pub fn has(&self, id: DeadId, dead: &DeadEvent<'_>) -> bool {
        self.known.contains(&id) && self.path(id, dead).exists()
    }

    /// Keeps an edited body; it replaces an earlier one.
    pub fn write(&self, path: &Path, body: &[u8]) -> Result<(), Failure> {
        let unfinished = self.create(&format!("{}.new", file_name(path)), body)?;
        fs::rename(&unfinished, path).map_err(|error| cannot("write", path, error))
    }

    /// What an editor left beside the drafts.
    pub fn unfinished(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        found(&self.beside(name))
    }

    /// Where a file beside the drafts is, or would be.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(format!(".{name}"))
    }

    /// A file beside the drafts, for an editor to work on.
    pub fn create(&self, name: &str, content: &[u8]) -> Result<PathBuf, Failure> {
        // Bodies may hold what is nobody else's business.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| cannot("create", &self.folder, error))?;
        let path = self.beside(name);
        let written = || {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        written().map_err(|error| cannot("write", &path, error))?;
        Ok(path)
    }

    /// Forgets a draft; one that is gone already is forgotten.
    pub fn remove(path: &Path) -> Result<(), Failure> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn folder_of(options: &DraftsArgs) -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from);
    folder(options.drafts.clone(), of("XDG_STATE_HOME"), of("HOME"))
}

fn found(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", path, error)),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn folder(asked: Option<PathBuf>, state_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
    // By the rule of XDG, a relative path counts as none.
    let state_home = given(state_home).filter(|path| path.is_absolute());
    let own = || Some(state_home.or_else(|| Some(given(home)?.join(".local/state")))?.join("weir/drafts"));
    given(asked).or_else(own)
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::usage(anyhow!(error).context(format!("--drafts: cannot {what} {}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::samples;

    const ID: DeadId = DeadId { partition: 3, offset: 17, generation: 0 };

    fn open(folder: &Path) -> Drafts {
        Drafts::in_folder(folder.join("deep/drafts")).unwrap()
    }

    #[test]
    fn a_draft_is_found_again_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dead = samples::around("3-17-0", b"original");
        let drafts = open(folder.path());
        assert_eq!(drafts.read(ID, &dead).unwrap(), None);
        let path = drafts.path(ID, &dead);
        drafts.write(&path, b"first").unwrap();
        drafts.write(&path, b"second").unwrap();

        let drafts = open(folder.path());
        assert!(drafts.has(ID, &dead));
        assert_eq!(drafts.read(ID, &dead).unwrap().as_deref(), Some(b"second".as_slice()));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "one file a letter");
        Drafts::remove(&path).unwrap();
        Drafts::remove(&path).unwrap();
        assert!(!drafts.has(ID, &dead));
        assert_eq!(drafts.read(ID, &dead).unwrap(), None);
    }

    #[test]
    fn another_letter_with_the_same_id_does_not_get_the_draft() {
        let folder = tempfile::tempdir().unwrap();
        let drafts = open(folder.path());
        drafts.write(&drafts.path(ID, &samples::around("3-17-0", b"here")), b"edited").unwrap();
        let drafts = open(folder.path());
        let elsewhere = samples::around("3-17-0", b"elsewhere");
        assert!(!drafts.has(ID, &elsewhere));
        assert_eq!(drafts.read(ID, &elsewhere).unwrap(), None);
    }

    #[test]
    fn nobody_else_may_read_a_draft() {
        let folder = tempfile::tempdir().unwrap();
        let drafts = open(folder.path());
        let path = drafts.path(ID, &samples::around("3-17-0", b"original"));
        drafts.write(&path, b"secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn drafts_are_kept_where_the_user_keeps_state() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(folder(path("d"), path("/s"), path("/h")), path("d"));
        assert_eq!(folder(None, path("/s"), path("/h")), path("/s/weir/drafts"));
        for none in [None, path(""), path("relative")] {
            assert_eq!(folder(None, none, path("/h")), path("/h/.local/state/weir/drafts"));
        }
        assert_eq!(folder(None, None, None), None);
    }
}

//! The files the rules look at: every text file of the repository, read once per rule.
//!
//! Build output, version control and recorded data are left out. Paths are relative, with `/`.

use std::fs;
use std::path::{Path, PathBuf};

/// The crates that are shipped; `tests` and `benches` have looser rules.
pub const PRODUCT: [&str; 5] = ["schemas", "runtime", "ingest", "processor", "cli"];

const SKIPPED_FOLDERS: [&str; 5] = ["target", ".git", "node_modules", "fixtures", "payloads"];
const TEXT: [&str; 12] = ["rs", "toml", "md", "yml", "yaml", "sh", "json", "avsc", "xml", "py", "java", "lua"];
const TEXT_WITHOUT_EXTENSION: [&str; 4] = ["Makefile", "Dockerfile", ".dockerignore", ".gitignore"];

/// A text file of the repository.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// A file that exists only in a test of a rule.
    pub fn example(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The crate's folder when the file belongs to something that is shipped.
    pub fn product_crate(&self) -> Option<&'static str> {
        PRODUCT.into_iter().find(|name| self.path.strip_prefix(name).is_some_and(|rest| rest.starts_with("/src/")))
    }

    /// Lines that are not comments, numbered from 1. String contents stay: a rule that must not
    /// see them has to look for something a string does not hold.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// The repository's root: the parent of this crate.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate lies in the workspace").to_owned()
}

/// Every text file.
pub fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 50, "the walk found only {} files", found.len());
    found
}

/// Every Rust file.
pub fn rust() -> Vec<File> {
    files().into_iter().filter(File::is_rust).collect()
}

/// One file that has to exist.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("the tree is readable") {
        let path = entry.expect("the tree is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                walk(root, &path, found);
            }
            continue;
        }
        let relative = path.strip_prefix(root).expect("below the root");
        let relative = relative.to_string_lossy().into_owned();
        if is_text(&relative, &name) {
            let text = fs::read(&path).expect("the tree is readable");
            let text = String::from_utf8(text).unwrap_or_else(|_| panic!("{relative} is not UTF-8"));
            found.push(File { path: relative, text });
        }
    }
}

fn is_text(relative: &str, name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    relative.starts_with("scripts/")
        || relative.starts_with(".ci/")
        || TEXT_WITHOUT_EXTENSION.contains(&name)
        || TEXT.contains(&extension)
}

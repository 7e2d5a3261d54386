//! What was done to the system, and when: one line each, and a count by kind.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use jiff::Timestamp;

/// The journal of a run. Copies write into the same.
#[derive(Debug, Clone)]
pub struct Journal {
    book: Arc<Mutex<Book>>,
}

#[derive(Debug)]
struct Book {
    file: File,
    faults: BTreeMap<String, u64>,
    recoveries: BTreeMap<String, u64>,
    violations: Vec<String>,
}

impl Journal {
    /// An empty journal in this file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let book = Book { file, faults: BTreeMap::new(), recoveries: BTreeMap::new(), violations: Vec::new() };
        Ok(Self { book: Arc::new(Mutex::new(book)) })
    }

    /// Something bad was done.
    pub fn fault(&self, kind: &str, detail: &str) {
        let mut book = self.book.lock().expect("nothing panics while it holds the lock");
        *book.faults.entry(kind.to_owned()).or_default() += 1;
        book.line(&format!("{kind}: {detail}"));
    }

    /// Something got well again.
    pub fn recovery(&self, kind: &str, detail: &str) {
        let mut book = self.book.lock().expect("nothing panics while it holds the lock");
        *book.recoveries.entry(kind.to_owned()).or_default() += 1;
        book.line(&format!("{kind}: {detail}"));
    }

    /// Something that must never happen was seen during the run.
    pub fn violation(&self, text: &str) {
        let mut book = self.book.lock().expect("nothing panics while it holds the lock");
        book.violations.push(text.to_owned());
        book.line(&format!("VIOLATION {text}"));
    }

    /// Everything that must never happen and was seen during the run.
    pub fn violations(&self) -> Vec<String> {
        self.book.lock().expect("nothing panics while it holds the lock").violations.clone()
    }

    /// Something that is worth a line.
    pub fn note(&self, text: &str) {
        self.book.lock().expect("nothing panics while it holds the lock").line(text);
    }

    /// How often each kind of fault was done.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        self.book.lock().expect("nothing panics while it holds the lock").faults.clone()
    }

    /// How often each kind of recovery was seen.
    pub fn recoveries(&self) -> BTreeMap<String, u64> {
        self.book.lock().expect("nothing panics while it holds the lock").recoveries.clone()
    }
}

impl Book {
    fn line(&mut self, text: &str) {
        let now = Timestamp::now().strftime("%H:%M:%S%.3f");
        // A journal that cannot be written is no reason to stop a run.
        drop(writeln!(self.file, "{now} {text}"));
    }
}

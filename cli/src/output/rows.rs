//! A list too long to be held: its rows go out as they come, as JSON at once, as a table page by page.

use runtime::report::Failure;

use super::{Form, Output, Row};
use crate::progress::Progress;

/// A table of so many rows is still read by somebody.
pub const READABLE: u64 = 20;

/// Rows of a page: a table's columns are as wide as its widest cells, which have to be known before.
const PAGE_ROWS: usize = 500;

/// A list that is being printed.
pub struct Rows<'o, 'a, R> {
    out: &'o mut Output<'a>,
    page: Vec<R>,
    pages: u64,
}

impl<'a> Output<'a> {
    /// Begins a list.
    pub fn rows<R: Row>(&mut self) -> Rows<'_, 'a, R> {
        Rows { out: self, page: Vec::new(), pages: 0 }
    }
}

impl<R: Row> Rows<'_, '_, R> {
    /// Prints the next row, in a table when its page is full.
    pub fn push(&mut self, row: R) -> Result<(), Failure> {
        if self.out.form() != Form::Table {
            return self.out.item(&row);
        }
        self.page.push(row);
        if self.page.len() < PAGE_ROWS { Ok(()) } else { self.turn() }
    }

    /// Ends the list. One without rows is an empty array or a table's head.
    pub fn end(mut self) -> Result<(), Failure> {
        if self.out.form() != Form::Table {
            return self.out.end_of_list();
        }
        if self.pages == 0 || !self.page.is_empty() { self.turn() } else { Ok(()) }
    }

    /// Prints the next row so that a reader sees it at once, and a bar on the same terminal makes way.
    pub fn show(&mut self, row: R, progress: &Progress) -> Result<(), Failure> {
        let is_on_terminal = self.out.is_on_terminal();
        let print = || self.push(row).and_then(|()| self.out.flush());
        if is_on_terminal { progress.aside(print) } else { print() }
    }

    fn turn(&mut self) -> Result<(), Failure> {
        self.pages += 1;
        let page = std::mem::take(&mut self.page);
        self.out.list(&page)
    }
}

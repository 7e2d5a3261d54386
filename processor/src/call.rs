//! Requests to other services that handlers want made, and what comes of them.
//!
//! A call is made outside of any transaction. If its owner dies, the next owner makes it again: calls are at least
//! once, outputs exactly once.

/// A request to another service.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// HTTP method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The request's body.
    pub body: Vec<u8>,
    /// Longest time the whole call may take, milliseconds.
    pub timeout_ms: u64,
    /// Most calls at once to its host, from this process.
    pub concurrency: u32,
    /// Longest body of an answer, bytes.
    pub body_max: usize,
    /// Whether addresses of private networks are allowed.
    pub may_be_private: bool,
}

/// Header fields hold secrets and bodies what is none of a log's business: only names and sizes print.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// Header fields, lower case.
        headers: Vec<(String, String)>,
        /// The answer's body.
        body: Vec<u8>,
    },
    /// Nobody knows what it did, or it was not made.
    Failed {
        /// Why, for a person.
        message: String,
    },
    /// It must not be made, or its answer cannot be taken. Another try would end the same.
    Refused {
        /// Why, for a person.
        message: String,
    },
    /// It was not made: its host has failed too often of late, or too many calls wait for it.
    Open {
        /// When to try again, milliseconds.
        retry_in_ms: u64,
    },
}

/// Which call a reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Partition of the event.
    pub partition: i32,
    /// Its offset in `verified-events`.
    pub offset: i64,
    /// How often it was redriven.
    pub generation: u64,
    /// Tells this call from every other of the worker.
    pub number: u64,
}

/// Makes calls for one worker. Never blocks.
pub trait Caller: std::fmt::Debug {
    /// Makes a call.
    fn call(&mut self, ticket: Ticket, call: Call);
    /// What came of calls since.
    fn replies(&mut self) -> Vec<(Ticket, Reply)>;
}

/// Makes no calls: each one fails.
#[derive(Debug, Default)]
pub struct NoCaller(Vec<Ticket>);

impl Caller for NoCaller {
    fn call(&mut self, ticket: Ticket, _: Call) {
        self.0.push(ticket);
    }

    fn replies(&mut self) -> Vec<(Ticket, Reply)> {
        let failed = |ticket| (ticket, Reply::Failed { message: "this process makes no calls".to_owned() });
        self.0.drain(..).map(failed).collect()
    }
}

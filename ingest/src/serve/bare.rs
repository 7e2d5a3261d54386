//! Refusals of the HTTP library itself, of what it can't read: they come without a body, and leave as documents.
//!
//! The library has no hook for them, so its answer is recognised on its way out. Ours always name a content type.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use schemas::ReasonCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::{limits, metrics, rejection};

/// A refusal that is being written, and the rest of a request that nobody will read.
#[derive(Default)]
pub(super) struct Bare {
    document: Vec<u8>,
    written: usize,
    lingers: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

impl Bare {
    /// Takes an answer that is about to be written, if it is one of the library's own.
    pub(super) fn takes(&mut self, answer: &[u8]) -> bool {
        let Some((document, reason)) = document(answer) else { return false };
        metrics::refused(None, reason);
        (self.document, self.written) = (document, 0);
        self.lingers = Some(Box::pin(tokio::time::sleep(limits::DISCARD_TIMEOUT)));
        true
    }

    /// Writes what was taken.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        ctx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.document.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(pin!(&mut *stream).poll_write(ctx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => self.written += more,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what the caller still sends, for a while: closing a connection with unread bytes resets it, and the caller
    /// would not see why.
    pub(super) fn poll_discard<S: AsyncRead + Unpin>(&mut self, stream: &mut S, ctx: &mut Context<'_>) -> Poll<()> {
        let Some(lingers) = &mut self.lingers else { return Poll::Ready(()) };
        let mut space = [0; 4096];
        while self.discarded < limits::DISCARD_BYTES_MAX && lingers.as_mut().poll(ctx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(pin!(&mut *stream).poll_read(ctx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.discarded += buffer.filled().len();
        }
        self.lingers = None;
        Poll::Ready(())
    }
}

/// The document for an answer without a body, and its reason.
fn document(answer: &[u8]) -> Option<(Vec<u8>, ReasonCode)> {
    const EMPTY: &str = "content-length: 0\r\n";
    let head = std::str::from_utf8(answer).ok()?.strip_prefix("HTTP/1.")?.strip_suffix("\r\n\r\n")?;
    let (status, fields) = head.split_once("\r\n")?;
    let fields = format!("{fields}\r\n");
    if !fields.contains(EMPTY) || fields.contains("content-type:") {
        return None;
    }
    let reason = match status.split(' ').nth(1)? {
        "431" => ReasonCode::HeadersTooLarge,
        // The contract knows no address that is too long.
        "400" | "414" => ReasonCode::BadRequest,
        _ => return None,
    };
    Some((rejection::on_the_wire(reason, &fields.replace(EMPTY, "")), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_body_becomes_a_document_and_any_other_stays() {
        let bare = b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        let (told, reason) = document(bare).expect("one of the library's");
        assert_eq!(reason, ReasonCode::BadRequest);
        let told = String::from_utf8(told).expect("text");
        let (head, body) = told.split_once("\r\n\r\n").expect("head and body");
        let length = format!("content-length: {}", body.len());
        let lines: Vec<&str> = head.lines().collect();
        let expected = [
            "HTTP/1.1 400 Bad Request",
            "connection: close",
            "date: now",
            "content-type: application/problem+json",
            &length,
        ];
        assert_eq!(lines, expected);
        assert!(body.contains("\"reason\":\"bad_request\""), "{body}");
        for other in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert!(document(other.as_bytes()).is_none(), "{other}");
        }
    }
}

//! Avro's binary encoding for the few shapes our records use, without copies and without recursion.
//!
//! The reader never allocates more than the input holds and never trusts a length. The contract tests compare
//! every record with the reference implementation, both ways.

/// Why bytes are not the record they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the two-byte marker of single-object encoding.
    #[error("not an Avro single-object record")]
    NotSingleObject,
    /// A writer schema this build does not know.
    #[error("unknown schema fingerprint {0:016x}")]
    UnknownSchema(u64),
    /// The bytes end early, or a length, a varint or a branch is out of range.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// Reads Avro binary from a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Opens a single-object record: marker, then the writer schema's fingerprint, which must be `fingerprint`.
    pub(crate) fn single_object(bytes: &'a [u8], fingerprint: u64) -> Result<Self, DecodeError> {
        let Some((head, rest)) = bytes.split_first_chunk::<10>() else {
            return Err(DecodeError::NotSingleObject);
        };
        let [0xC3, 0x01, print @ ..] = head else {
            return Err(DecodeError::NotSingleObject);
        };
        let found = u64::from_le_bytes(*print);
        if found != fingerprint {
            return Err(DecodeError::UnknownSchema(found));
        }
        Ok(Self { rest })
    }

    pub(crate) fn long(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Malformed(what))?;
            self.rest = rest;
            if shift == 63 && *byte > 1 {
                return Err(DecodeError::Malformed(what));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(DecodeError::Malformed(what))
    }

    pub(crate) fn boolean(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.rest.split_first() {
            Some((0, rest)) => {
                self.rest = rest;
                Ok(false)
            }
            Some((1, rest)) => {
                self.rest = rest;
                Ok(true)
            }
            Some(_) | None => Err(DecodeError::Malformed(what)),
        }
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.long(what)?).map_err(|_| DecodeError::Malformed(what))?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Malformed(what))?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn string(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| DecodeError::Malformed(what))
    }

    /// A union of null and one other branch, in that order: whether a value follows.
    pub(crate) fn present(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.long(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    pub(crate) fn optional_string(&mut self, what: &'static str) -> Result<Option<&'a str>, DecodeError> {
        if self.present(what)? { self.string(what).map(Some) } else { Ok(None) }
    }

    pub(crate) fn optional_bytes(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.present(what)? { self.bytes(what).map(Some) } else { Ok(None) }
    }

    pub(crate) fn optional_long(&mut self, what: &'static str) -> Result<Option<i64>, DecodeError> {
        if self.present(what)? { self.long(what).map(Some) } else { Ok(None) }
    }

    /// An array's blocks, each item read by `item`; the bytes they stand in. The count of a block is bounded by the
    /// bytes that are left: every item of ours takes at least one.
    pub(crate) fn items(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<&'a [u8], DecodeError> {
        let all = self.rest;
        loop {
            let mut count = self.long(what)?;
            if count == 0 {
                return Ok(all.get(..all.len() - self.rest.len()).unwrap_or_default());
            }
            if count < 0 {
                self.long(what)?;
                count = count.checked_neg().ok_or(DecodeError::Malformed(what))?;
            }
            if usize::try_from(count).map_or(true, |count| count > self.rest.len()) {
                return Err(DecodeError::Malformed(what));
            }
            for _ in 0..count {
                item(self)?;
            }
        }
    }

    /// An array's items.
    pub(crate) fn array<T>(
        &mut self,
        what: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        self.items(what, |reader| {
            items.push(item(reader)?);
            Ok(())
        })?;
        Ok(items)
    }

    /// Reads on in bytes that [`Reader::items`] returned.
    pub(crate) fn inside(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed("trailing bytes")) }
    }
}

/// Appends Avro binary to a buffer.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn single_object(out: &'a mut Vec<u8>, fingerprint: u64) -> Self {
        out.extend_from_slice(&[0xC3, 0x01]);
        out.extend_from_slice(&fingerprint.to_le_bytes());
        Self { out }
    }

    pub(crate) fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            self.out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// Bytes that are encoded already.
    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        // A slice is never longer than isize::MAX.
        self.long(value.len() as i64);
        self.out.extend_from_slice(value);
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub(crate) fn optional_string(&mut self, value: Option<&str>) {
        self.optional_bytes(value.map(str::as_bytes));
    }

    pub(crate) fn optional_bytes(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => {
                self.long(1);
                self.bytes(value);
            }
            None => self.long(0),
        }
    }

    pub(crate) fn optional_long(&mut self, value: Option<i64>) {
        match value {
            Some(value) => {
                self.long(1);
                self.long(value);
            }
            None => self.long(0),
        }
    }

    pub(crate) fn array<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        if !items.is_empty() {
            self.long(items.len() as i64);
            for one in items {
                item(self, one);
            }
        }
        self.long(0);
    }
}

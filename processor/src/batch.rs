//! The records of one transaction, copied once into one buffer.
//!
//! The buffer bounds what a transaction can hold in memory, and frees the client's own buffers at once.

use crate::step::Input;
use crate::varint::{Fields, put_bytes, put_u64};

/// Records collected for one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    partition: i32,
    offset: i64,
    timestamp: i64,
    start: usize,
    key_end: usize,
    value_end: usize,
    headers_end: usize,
}

impl Batch {
    /// Reserves memory for so many bytes, which is touched only when records come: growing would copy and hold
    /// what is there twice.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), records: Vec::new() }
    }

    /// Copies a record in. Headers are kept only for records that may turn out to be undecodable.
    pub fn push<'a>(&mut self, input: &Input<'_>, headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(input.key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(input.value);
        let value_end = self.bytes.len();
        for (name, value) in headers {
            put_bytes(&mut self.bytes, name.as_bytes());
            put_u64(&mut self.bytes, u64::from(value.is_some()));
            put_bytes(&mut self.bytes, value.unwrap_or_default());
        }
        self.records.push(Slot {
            partition: input.partition,
            offset: input.offset,
            timestamp: input.timestamp,
            start,
            key_end,
            value_end,
            headers_end: self.bytes.len(),
        });
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Forgets the records of some partitions.
    pub fn remove(&mut self, partitions: &[i32]) {
        self.records.retain(|record| !partitions.contains(&record.partition));
    }

    /// Forgets everything but the first record of a partition; its offset.
    pub fn keep_first(&mut self, partition: i32) -> Option<i64> {
        let first = self.records.iter().find(|record| record.partition == partition).copied();
        self.records.clear();
        self.records.extend(first);
        first.map(|record| record.offset)
    }

    /// The partitions that have records here, in order.
    pub fn partitions(&self) -> Vec<i32> {
        let mut partitions: Vec<i32> = self.records.iter().map(|record| record.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Every record in the order it came, with its headers.
    pub fn iter(&self) -> impl Iterator<Item = (Input<'_>, StoredHeaders<'_>)> {
        self.records.iter().map(|record| {
            let part = |from: usize, to: usize| self.bytes.get(from..to).unwrap_or_default();
            let input = Input {
                partition: record.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: part(record.start, record.key_end),
                value: part(record.key_end, record.value_end),
            };
            (input, StoredHeaders(part(record.value_end, record.headers_end)))
        })
    }
}

/// The headers of a stored record.
#[derive(Debug, Clone, Copy)]
pub struct StoredHeaders<'a>(&'a [u8]);

impl<'a> StoredHeaders<'a> {
    /// Name and value of each header.
    pub fn to_vec(self) -> Vec<(&'a str, Option<&'a [u8]>)> {
        let mut fields = Fields::new(self.0);
        let mut headers = Vec::new();
        while let (Ok(name), Ok(is_some), Ok(value)) = (fields.text(), fields.u64(), fields.bytes()) {
            headers.push((name, (is_some != 0).then_some(value)));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut batch = Batch::default();
        for n in 0..3_u8 {
            let input = Input { partition: i32::from(n % 2), offset: 7, timestamp: 9, key: &[n], value: &[n, n] };
            batch.push(&input, [("a", Some([n].as_slice())), ("b", None)].into_iter());
        }
        assert_eq!(batch.partitions(), [0, 1]);
        let (input, headers) = batch.iter().nth(2).expect("three records");
        assert_eq!((input.key, input.value), ([2_u8].as_slice(), [2_u8, 2].as_slice()));
        assert_eq!(headers.to_vec(), [("a", Some([2_u8].as_slice())), ("b", None)]);
        batch.remove(&[0]);
        assert_eq!(batch.iter().map(|(input, _)| input.key.to_vec()).collect::<Vec<_>>(), [[1]]);
    }
}

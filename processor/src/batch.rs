//! The records of one transaction, where the log has them.
//!
//! Nothing is copied: a record is looked at in the client's own buffer, once, and let go of as soon as it is decided.

use std::fmt;

use schemas::command::RecordHeaders;

use crate::log::{Fault, Loose};
use crate::step::Input;

/// What is done with each record: the record, and its headers for who needs them.
pub type Each<'e> = dyn for<'a> FnMut(&'a Input<'a>, &'a dyn Fn() -> RecordHeaders<'a>) -> Result<(), Fault> + 'e;

/// Records as a log holds them, in the order they came.
pub trait Records {
    /// Partition and offset of each.
    fn places(&self) -> Box<dyn Iterator<Item = (i32, i64)> + '_>;
    /// Lets go of those that are not to be kept, by partition and offset.
    fn retain(&mut self, keep: &mut dyn FnMut(i32, i64) -> bool);
    /// Hands out one after the other and lets go of it; after a fault, of all that are left.
    fn drain(&mut self, each: &mut Each<'_>) -> Result<(), Fault>;
}

/// Records collected for one transaction.
#[derive(Default)]
pub struct Batch(Option<Box<dyn Records>>);

impl Batch {
    /// A batch of these records.
    pub fn of(records: impl Records + 'static) -> Self {
        Self(Some(Box::new(records)))
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.places().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places().next().is_none()
    }

    /// Whether a partition has records here.
    pub fn has(&self, partition: i32) -> bool {
        self.places().any(|(of, _)| of == partition)
    }

    /// Forgets everything, and whom it came from.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Forgets the records of some partitions.
    pub fn remove(&mut self, partitions: &[i32]) {
        if !partitions.is_empty() {
            self.retain(&mut |partition, _| !partitions.contains(&partition));
        }
    }

    /// Forgets everything but the first record of a partition; its offset.
    pub fn keep_first(&mut self, partition: i32) -> Option<i64> {
        let mut first = None;
        self.retain(&mut |of, offset| {
            let is_first = of == partition && first.is_none();
            if is_first {
                first = Some(offset);
            }
            is_first
        });
        first
    }

    /// The partitions that have records here, in order.
    pub fn partitions(&self) -> Vec<i32> {
        let mut partitions: Vec<i32> = self.places().map(|(partition, _)| partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Hands out every record in the order it came. Afterwards there are none.
    pub fn drain(&mut self, each: &mut Each<'_>) -> Result<(), Fault> {
        self.0.take().map_or(Ok(()), |mut records| records.drain(each))
    }

    fn places(&self) -> impl Iterator<Item = (i32, i64)> {
        self.0.iter().flat_map(|records| records.places())
    }

    fn retain(&mut self, keep: &mut dyn FnMut(i32, i64) -> bool) {
        if let Some(records) = &mut self.0 {
            records.retain(keep);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places()).finish()
    }
}

/// Records by themselves, of a log that has no buffers to look into.
impl Records for Vec<Loose> {
    fn places(&self) -> Box<dyn Iterator<Item = (i32, i64)> + '_> {
        Box::new(self.iter().map(|record| (record.partition, record.offset)))
    }

    fn retain(&mut self, keep: &mut dyn FnMut(i32, i64) -> bool) {
        Vec::retain(self, |record| keep(record.partition, record.offset));
    }

    fn drain(&mut self, each: &mut Each<'_>) -> Result<(), Fault> {
        Vec::drain(self, ..).try_for_each(|record| each(&record.input(), &|| record.headers()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let record = |n: u8| Loose {
            partition: i32::from(n % 2),
            offset: i64::from(n),
            timestamp: 9,
            key: vec![n],
            value: vec![n, n],
            headers: vec![("a".to_owned(), Some(vec![n])), ("b".to_owned(), None)],
        };
        Batch::of(Vec::from_iter((0..5).map(record)))
    }

    fn offsets(mut batch: Batch) -> Vec<i64> {
        let mut offsets = Vec::new();
        let drained = batch.drain(&mut |input, _| {
            offsets.push(input.offset);
            Ok(())
        });
        assert_eq!(drained, Ok(()));
        assert!(batch.is_empty());
        offsets
    }

    #[test]
    fn what_goes_in_comes_out_in_order_with_its_headers() {
        let mut seen = 0_u8;
        let mut batch = batch();
        assert_eq!((batch.len(), batch.partitions()), (5, vec![0, 1]));
        assert!(batch.has(1) && !batch.has(2));
        let drained = batch.drain(&mut |input, headers| {
            assert_eq!((input.key, input.value), ([seen].as_slice(), [seen, seen].as_slice()));
            assert_eq!(headers(), [("a", Some([seen].as_slice())), ("b", None)]);
            seen += 1;
            Ok(())
        });
        assert_eq!((drained, seen, batch.len()), (Ok(()), 5, 0));
    }

    #[test]
    fn partitions_go_and_a_first_record_stays() {
        let mut some = batch();
        some.remove(&[0]);
        assert_eq!(offsets(some), [1, 3]);
        let mut first = batch();
        assert_eq!(first.keep_first(1), Some(1));
        assert_eq!(offsets(first), [1]);
        let mut none = batch();
        assert_eq!(none.keep_first(7), None);
        assert!(none.is_empty());
    }

    #[test]
    fn nothing_is_handed_out_after_a_fault() {
        let mut seen = 0;
        let mut batch = batch();
        let fault = Fault::Unsure { doing: "test", detail: String::new() };
        let drained = batch.drain(&mut |_, _| {
            seen += 1;
            if seen == 2 { Err(fault.clone()) } else { Ok(()) }
        });
        assert_eq!((drained, seen, batch.len()), (Err(fault), 2, 0));
    }
}

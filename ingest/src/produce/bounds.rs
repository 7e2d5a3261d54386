//! How much may wait for Kafka: a number of records and a number of bytes, whichever is reached first.
//!
//! Room is taken before a record is handed to the client and given back when its delivery is known, also when
//! the caller is long gone. So a slow broker cannot make this process grow.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::InFlight;

/// Most records that wait for Kafka.
pub const RECORDS_MAX: usize = 10_000;
/// Most bytes of records that wait for Kafka, whatever the size of one.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// The bound.
#[derive(Debug)]
pub struct Bounds {
    records: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    in_flight: InFlight,
}

/// Room that is taken until this is dropped.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    in_flight: InFlight,
    _record: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Bounds {
    /// A bound that has room for at least two of the largest records.
    pub fn new(record_bytes: u64) -> Self {
        let bytes = bytes_max(record_bytes);
        Self {
            records: Arc::new(Semaphore::new(RECORDS_MAX)),
            bytes: Arc::new(Semaphore::new(bytes)),
            in_flight: InFlight::new(),
        }
    }

    /// Takes room for a record, or says at once that there is none.
    pub fn take(&self, bytes: usize) -> Option<Room> {
        let record = Arc::clone(&self.records).try_acquire_owned().ok()?;
        let permits = u32::try_from(bytes).ok()?;
        let taken = Arc::clone(&self.bytes).try_acquire_many_owned(permits).ok()?;
        self.in_flight.more(bytes);
        Some(Room { bytes, in_flight: self.in_flight.clone(), _record: record, _bytes: taken })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.in_flight.less(self.bytes);
    }
}

/// Most bytes that wait for Kafka when one record may have `record_bytes`.
pub fn bytes_max(record_bytes: u64) -> usize {
    usize::try_from(record_bytes).unwrap_or(usize::MAX).saturating_mul(2).clamp(BYTES_MAX, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_by_bytes_and_comes_back() {
        let bounds = Bounds::new(1024);
        let half = bytes_max(1024) / 2;
        let (first, second) = (bounds.take(half), bounds.take(half));
        assert!(first.is_some() && second.is_some());
        assert!(bounds.take(1).is_none());
        drop(first);
        assert!(bounds.take(half).is_some());
    }

    #[test]
    fn room_is_bounded_by_records() {
        let bounds = Bounds::new(1024);
        let all: Vec<_> = (0..RECORDS_MAX).map_while(|_| bounds.take(1)).collect();
        assert_eq!(all.len(), RECORDS_MAX);
        assert!(bounds.take(1).is_none());
    }

    #[test]
    fn the_largest_record_always_fits_twice() {
        let largest = schemas::sizes::event_record_bytes(schemas::sizes::BODY_LIMIT_MAX);
        let bounds = Bounds::new(largest);
        let size = usize::try_from(largest).expect("64 bits");
        let (first, second) = (bounds.take(size), bounds.take(size));
        assert!(first.is_some() && second.is_some());
    }
}

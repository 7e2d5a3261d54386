//! The resource key and the partition that follows from it.
//!
//! Ingest, retry, redrive and every reader must agree on these bytes for ever: per-resource order hangs on them.
//! For a power-of-two partition count up to [`SLOTS`] the result equals the Java client's default partitioner.

/// How many slots keys are divided into, fixed for ever. State keys carry the slot.
pub const SLOTS: u16 = 4096;

/// The key bytes of an event that names its resource: `source|type|id`, with `%` and `|` escaped in each part.
pub fn resource_key(source: &str, resource_type: &str, resource_id: &str) -> String {
    let mut key = String::with_capacity(source.len() + resource_type.len() + resource_id.len() + 2);
    push_escaped(&mut key, source);
    key.push('|');
    push_escaped(&mut key, resource_type);
    key.push('|');
    push_escaped(&mut key, resource_id);
    key
}

/// The key bytes of an event without a resource: it is ordered with nothing.
pub fn event_key(source: &str, event_id: &str) -> String {
    resource_key(source, "event", event_id)
}

/// The part of a resource key behind the source (`ce_subject`): everything after the first `|`.
pub fn subject(key: &[u8]) -> &[u8] {
    match key.iter().position(|byte| *byte == b'|') {
        Some(at) => key.get(at + 1..).unwrap_or_default(),
        None => key,
    }
}

/// Type and id of the resource that a key names; both empty when it is no key of ours.
pub fn resource(key: &[u8]) -> (String, String) {
    let unescaped = |part: &str| part.replace("%7C", "|").replace("%25", "%");
    let subject = std::str::from_utf8(subject(key)).unwrap_or_default();
    let (of_type, id) = subject.split_once('|').unwrap_or_default();
    (unescaped(of_type), unescaped(id))
}

fn push_escaped(out: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            '%' => out.push_str("%25"),
            '|' => out.push_str("%7C"),
            other => out.push(other),
        }
    }
}

/// The slot of a key: `(murmur2(key) & 0x7fffffff) mod 4096`.
pub fn slot(key: &[u8]) -> u16 {
    // The mask keeps 12 bits, which always fit.
    (murmur2(key) & 0x7fff_ffff & (u32::from(SLOTS) - 1)) as u16
}

/// The partition of a slot. `partitions` is a power of two from 1 to 4096 (checked by the configuration).
pub fn partition_of_slot(slot: u16, partitions: i32) -> i32 {
    i32::from(slot) % partitions.max(1)
}

/// The partition of a key.
pub fn partition(key: &[u8], partitions: i32) -> i32 {
    partition_of_slot(slot(key), partitions)
}

/// Whether a partition count keeps the promise that slots and Java's partitioner agree.
pub fn is_valid_partition_count(partitions: i32) -> bool {
    (1..=i32::from(SLOTS)).contains(&partitions) && partitions & (partitions - 1) == 0
}

/// Murmur2 as Kafka's Java client computes it (32 bits, seed 0x9747b28c).
pub fn murmur2(data: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    // Lengths above u32::MAX cannot occur: keys are bounded by the record size.
    let mut hash: u32 = 0x9747_b28c ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0_u32, |k, byte| (k << 8) | u32::from(*byte));
        k = k.wrapping_mul(MULTIPLIER);
        k ^= k >> 24;
        k = k.wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ k;
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        let k = tail.iter().rev().fold(0_u32, |k, byte| (k << 8) | u32::from(*byte));
        hash = (hash ^ k).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_equals_the_java_client() {
        // Values of org.apache.kafka.common.utils.UtilsTest#testMurmur2.
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key) as i32, expected, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn separators_inside_a_part_cannot_move_the_boundary() {
        assert_eq!(resource_key("github", "repository", "1"), "github|repository|1");
        assert_eq!(resource_key("a", "b|c", "d%e"), "a|b%7Cc|d%25e");
        assert_ne!(resource_key("a", "b|c", "d"), resource_key("a", "b", "c|d"));
        assert_eq!(event_key("stripe", "evt_1"), "stripe|event|evt_1");
        assert_eq!(subject(b"github|repository|1"), b"repository|1");
    }

    #[test]
    fn a_resource_is_read_back_from_its_key() {
        for (of_type, id) in [("repository", "1"), ("b|c", "d%e"), ("%7C", "%25|%"), ("", "")] {
            let key = resource_key("s", of_type, id);
            assert_eq!(resource(key.as_bytes()), (of_type.to_owned(), id.to_owned()), "{key}");
        }
        assert_eq!(resource(b""), Default::default());
    }

    #[test]
    fn a_partition_is_the_slot_modulo_the_count_and_equals_the_default_partitioner() {
        for count in [1, 2, 4, 16, 64, 1024, 4096] {
            for n in 0..500 {
                let key = format!("source|type|{n}");
                let java = (murmur2(key.as_bytes()) & 0x7fff_ffff) as i32 % count;
                assert_eq!(partition(key.as_bytes(), count), java);
            }
        }
    }

    #[test]
    fn only_powers_of_two_up_to_the_slot_count_are_valid() {
        assert!(is_valid_partition_count(1) && is_valid_partition_count(16) && is_valid_partition_count(4096));
        for wrong in [0, -1, 3, 6, 12, 8192] {
            assert!(!is_valid_partition_count(wrong), "{wrong}");
        }
    }
}

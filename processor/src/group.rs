//! Two questions to librdkafka that its Rust wrapper does not ask: are we a member, and of which generation?
//!
//! A broker takes a transactional offset commit without a generation even from a non-member. Asking before every
//! transaction closes that hole. This is the only file with unsafe code.
#![expect(unsafe_code, reason = "two read-only calls on a handle that outlives them")]

use std::ffi::CStr;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka_sys as sys;

/// Membership in the group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The group's generation.
    pub(crate) generation: i32,
    /// Our member id.
    pub(crate) member: String,
}

/// Our membership; `None` when we are not a member right now.
pub(crate) fn membership<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<Membership> {
    let client = consumer.client().native_ptr();
    // SAFETY: `client` lives as long as `consumer`; the metadata is ours until destroyed below; the member id is a
    // C string inside of it, copied before that.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(client);
        if metadata.is_null() {
            return None;
        }
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        let member = sys::rd_kafka_consumer_group_metadata_member_id(metadata);
        let member =
            if member.is_null() { String::new() } else { CStr::from_ptr(member).to_string_lossy().into_owned() };
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        (generation >= 0 && !member.is_empty()).then_some(Membership { generation, member })
    }
}

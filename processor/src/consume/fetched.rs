//! Records that lie in the client's buffers, together with the client: it lives as long as they do.

use std::sync::Arc;

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message};
use self_cell::self_cell;

use super::GroupContext;
use crate::batch::{Each, Records};
use crate::log::Fault;
use crate::reader::{headers_of, input_of};

/// Records as the client has them.
pub(super) type Messages<'a> = Vec<BorrowedMessage<'a>>;

self_cell!(
    /// Records in the client's buffers, and the client.
    pub(super) struct Fetched {
        owner: Arc<BaseConsumer<GroupContext>>,
        #[covariant]
        dependent: Messages,
    }
);

impl Records for Fetched {
    fn places(&self) -> Box<dyn Iterator<Item = (i32, i64)> + '_> {
        Box::new(self.borrow_dependent().iter().map(|message| (message.partition(), message.offset())))
    }

    fn retain(&mut self, keep: &mut dyn FnMut(i32, i64) -> bool) {
        self.with_dependent_mut(|_, messages| messages.retain(|message| keep(message.partition(), message.offset())));
    }

    fn drain(&mut self, each: &mut Each<'_>) -> Result<(), Fault> {
        self.with_dependent_mut(|_, messages| {
            messages.drain(..).try_for_each(|message| each(&input_of(&message), &|| headers_of(&message)))
        })
    }
}

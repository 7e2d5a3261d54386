//! The producer of a worker's connection: transactions as the client and the brokers would go through them.
//!
//! Requests are answered at once, but a copy may stay on the wire; commits are answered before their markers are
//! written.

use processor::emit::{Out, Record};
use processor::log::Fault;
use schemas::headers;

use crate::client::MemoryLog;
use crate::cluster::Kind;
use crate::controls::Control;
use crate::group::Membership;
use crate::plan::{Epochs, Mishap};
use crate::schedule::unsure;
use crate::topic::Stamped;
use crate::transactions::{Refused, Target};

impl MemoryLog {
    /// Adds to the open transaction whatever it touches next. `false`: the producer can't go on.
    pub fn add(&mut self, target: Target) -> Result<bool, Fault> {
        let epoch = self.epoch.ok_or_else(|| unsure("no producer"))?;
        if !self.added.insert(target) {
            return Ok(true);
        }
        loop {
            let added = self.world.cluster.borrow_mut().transactions.add(self.slot, epoch, target);
            match added {
                Ok(()) => break,
                // The transaction before is not over. The client asks until it is.
                Err(Refused::Concurrent) => self.world.cluster.borrow_mut().mark_all(self.slot),
                Err(Refused::Fenced | Refused::InvalidState) => return Ok(false),
            }
        }
        self.world.drift();
        if self.world.strikes(Mishap::LateAdd) {
            self.is_tainted = true;
            self.world.cluster.borrow_mut().post(self.slot, epoch, Kind::Add(target));
        }
        Ok(true)
    }

    /// Produce, one record a request.
    pub fn send(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let at = (record.out, record.partition);
        if self.is_failed {
            return Ok(());
        }
        if !self.add(Target::Log(at.0, at.1))? {
            self.is_failed = true;
            return Ok(());
        }
        let epoch = self.epoch.unwrap_or_default();
        let stamped = stamped(record);
        if self.world.strikes(Mishap::LateProduce) {
            self.world.cluster.borrow_mut().post(self.slot, epoch, Kind::Produce(at, stamped));
            self.is_failed = true;
            return Ok(());
        }
        match self.world.cluster.borrow_mut().append(self.slot, epoch, at, stamped) {
            Some(offset) => drop(self.acks.insert(at, offset)),
            None => self.is_failed = true,
        }
        Ok(())
    }

    /// Whose name the offsets are sent under, and whether anybody looks.
    fn sender(&self) -> Option<Membership> {
        match self.world.control {
            // A client that lost its membership has none to send, and a broker asks nothing of it.
            Control::MembershipAtCommit => self.membership,
            Control::NoMembership => None,
            _ => self.begun,
        }
    }

    /// TxnOffsetCommit.
    pub fn stage(&mut self, offsets: &[(i32, i64, String)], epoch: u64) -> Result<(), Fault> {
        let sender = self.sender();
        let mut cluster = self.world.cluster.borrow_mut();
        if !cluster.group.is_open(self.slot) && !cluster.is_taken(self.slot, epoch, Target::Offsets) {
            return Err(unsure("offsets of no transaction"));
        }
        // Who fenced an instance is for its own poll to find out.
        if let Some(rejected) = sender.and_then(|sender| cluster.group.check(self.slot, sender).err()) {
            return Err(unsure(&format!("offsets rejected: {rejected:?}")));
        }
        if !cluster.group.stage(self.slot, epoch, offsets) {
            return Err(unsure("fenced"));
        }
        drop(cluster);
        if let Some(sender) = sender
            && self.world.strikes(Mishap::LateOffsets)
        {
            self.is_tainted = true;
            let kind = Kind::Offsets(self.slot, sender, offsets.to_vec());
            self.world.cluster.borrow_mut().post(self.slot, epoch, kind);
        }
        Ok(())
    }

    /// EndTxn, sent until it is answered.
    pub fn end(&mut self, epoch: u64, is_commit: bool) -> Result<(), Fault> {
        let kind = Kind::End { is_commit };
        if self.world.strikes(Mishap::LateEnd) {
            self.is_tainted = true;
            self.world.cluster.borrow_mut().post(self.slot, epoch, kind.clone());
        }
        let sent = self.world.cluster.borrow_mut().post(self.slot, epoch, kind);
        self.point("EndTxn")?;
        let mut cluster = self.world.cluster.borrow_mut();
        cluster.recall(sent);
        loop {
            match cluster.transactions.end(self.slot, epoch, is_commit) {
                Ok(()) => return Ok(()),
                Err(Refused::Concurrent) => cluster.mark_all(self.slot),
                Err(refused) => return Err(unsure(&format!("EndTxn refused: {refused:?}"))),
            }
        }
    }

    /// What the client says of a commit: whether the producer may be used again.
    pub fn is_clean(&self) -> bool {
        let epochs = self.world.plan.borrow().epochs;
        match epochs {
            Epochs::Never => true,
            Epochs::EveryCommit => false,
            Epochs::WhenTroubled => !self.is_tainted,
            Epochs::WhenNoticed => !self.is_tainted || self.world.is_likely(80),
        }
    }
}

fn stamped(record: &Record<'_>) -> Stamped {
    let mut stamped = Stamped {
        key: record.key.unwrap_or_default().to_vec(),
        value: match record.out {
            Out::Changelog | Out::Resolutions | Out::Retry(_) | Out::Dead => record.value.to_vec(),
            Out::Clean | Out::Stale => Vec::new(),
        },
        ..Stamped::default()
    };
    if matches!(record.out, Out::Retry(_)) {
        let headers = record.headers.iter();
        stamped.headers = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
    }
    for (name, value) in record.headers.iter() {
        let text = std::str::from_utf8(value.unwrap_or_default()).unwrap_or_default();
        match name {
            headers::WEIR_SRC => {
                let (partition, offset) = text.split_once(':').expect("our own header");
                stamped.src = partition.parse().ok().zip(offset.parse().ok());
            }
            headers::WEIR_SEQ => stamped.seq = text.parse().ok(),
            headers::WEIR_TXN => stamped.txn = text.parse().ok(),
            headers::WEIR_GENERATION => stamped.generation = text.parse().expect("our own header"),
            _ => {}
        }
    }
    stamped
}

//! One worker's connection to the cluster: the trait [`Log`], as librdkafka and a broker would answer it.
//!
//! This stands for `kafka.rs`, `consume.rs`, `reader.rs` and `commit.rs` of the processor, and keeps to what they do:
//! membership is taken at `begin`, answers are read as decided ones, trouble of the connection is reported by `commit`
//! if it was noticed. What a control breaks, it breaks here or in the stores; the processor itself is never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;

use processor::batch::Batch;
use processor::emit::{Out, Record};
use processor::log::{Acks, Bounds, Ends, Fault, Found, Heard, Log, Loose, Polled, Scanned, Stored, Want};
use processor::state::wait::RecordAt;

use crate::cluster::Kind;
use crate::controls::Control;
use crate::group::{Membership, Slot};
use crate::plan::Mishap;
use crate::schedule::unsure;
use crate::transactions::Target;
use crate::world::World;

/// Year 1: far after every record of a history, so that no clock holds a partition.
const NOW: i64 = 2_000_000_000_000;

/// The connection of one process.
pub struct MemoryLog {
    pub world: Rc<World>,
    pub me: usize,
    pub slot: Slot,
    /// What the group's client believes.
    pub membership: Option<Membership>,
    /// The membership under which the transaction was opened.
    pub begun: Option<Membership>,
    known: BTreeMap<i32, u64>,
    running: BTreeMap<i32, i64>,
    /// Where the first retry topic is read on, and whether its end was told.
    heard: BTreeMap<i32, (i64, bool)>,
    wants: Vec<Want>,
    pub epoch: Option<u64>,
    pub added: BTreeSet<Target>,
    pub acks: Acks,
    pub is_failed: bool,
    pub is_tainted: bool,
    /// The last barrier sent to each changelog partition. Only controls look at it.
    pub barriers: BTreeMap<i32, Vec<u8>>,
}

impl MemoryLog {
    /// A client that has not joined the group.
    pub fn new(world: &Rc<World>, me: usize, slot: Slot) -> Self {
        Self {
            world: Rc::clone(world),
            me,
            slot,
            membership: None,
            begun: None,
            known: BTreeMap::new(),
            running: BTreeMap::new(),
            heard: BTreeMap::new(),
            wants: Vec::new(),
            epoch: None,
            added: BTreeSet::new(),
            acks: Acks::new(),
            is_failed: false,
            is_tainted: false,
            barriers: BTreeMap::new(),
        }
    }

    /// Whether it has nothing more to read of what is its own.
    pub fn has_read_all(&self) -> bool {
        let cluster = self.world.cluster.borrow();
        let has_heard = |(partition, (next, _)): (&i32, &(i64, bool))| {
            let log = cluster.log((Out::Retry(0), *partition));
            log.committed(*next).next().is_none() && log.stable() == log.high()
        };
        self.running.iter().all(|(partition, next)| *next as usize >= cluster.input[partition].len())
            && self.running.len() == self.known.len()
            && self.heard.iter().all(has_heard)
    }

    /// What it has read so far, for a person.
    pub fn reading(&self) -> String {
        let cluster = self.world.cluster.borrow();
        let ends = self.heard.keys().map(|partition| {
            let log = cluster.log((Out::Retry(0), *partition));
            (log.stable(), log.high(), log.open_producers())
        });
        format!("{:?}, {:?}, {:?}", self.running, self.heard, ends.collect::<Vec<_>>())
    }

    /// How many partitions it knows to be its own.
    pub fn assigned(&self) -> usize {
        self.known.len()
    }

    /// Time passes in a call, and the heartbeats of the background thread may be answered.
    pub fn point(&mut self, call: &'static str) -> Result<(), Fault> {
        if self.world.is_likely(30) {
            self.heartbeat();
        }
        self.world.point(self.me, call)
    }

    fn heartbeat(&mut self) {
        if let Some(membership) = self.membership
            && !self.world.cluster.borrow().group.is_usurped(self.slot, membership)
        {
            self.membership = self.world.cluster.borrow().group.heartbeat(self.slot, membership);
        }
    }

    fn rejoin(&mut self) -> Polled {
        let mut cluster = self.world.cluster.borrow_mut();
        let membership = match self.membership {
            Some(membership) if cluster.group.heartbeat(self.slot, membership).is_some() => membership,
            Some(_) | None => {
                let lost = std::mem::take(&mut self.known).into_keys().collect();
                self.membership = Some(cluster.group.join(self.slot));
                return Polled { revoked: lost, assigned: Vec::new() };
            }
        };
        let mine = cluster.group.poll(self.slot);
        self.membership = cluster.group.heartbeat(self.slot, membership);
        let revoked = self.known.iter().filter(|(partition, grant)| mine.get(partition) != Some(grant));
        let assigned = mine.iter().filter(|(partition, grant)| self.known.get(partition) != Some(grant));
        let polled = Polled {
            revoked: revoked.map(|(partition, _)| *partition).collect(),
            assigned: assigned.map(|(partition, _)| *partition).collect(),
        };
        self.known = mine;
        polled
    }

    fn take_records(&mut self, events: usize) -> Batch {
        let mut records = Vec::new();
        let cluster = self.world.cluster.borrow();
        for (partition, next) in &mut self.running {
            let log = &cluster.input[partition];
            let end = cluster.arrived[partition];
            while records.len() < events && (*next as usize) < end {
                let record = &log[*next as usize];
                records.push(Loose {
                    partition: *partition,
                    offset: *next,
                    timestamp: record.timestamp,
                    key: record.key.clone(),
                    value: record.value.clone(),
                    headers: Vec::new(),
                });
                *next += 1;
            }
        }
        Batch::of(records)
    }
}

fn loose(partition: i32, offset: i64, record: &crate::topic::Stamped) -> Loose {
    let (key, value, headers) = (record.key.clone(), record.value.clone(), record.headers.clone());
    Loose { partition, offset, timestamp: NOW, key, value, headers }
}

fn fenced() -> Fault {
    Fault::Fenced { doing: "model", detail: "another process has the static member".to_owned() }
}

impl Log for MemoryLog {
    fn collect(&mut self, batch: &mut Batch, bounds: Bounds) -> Result<Polled, Fault> {
        self.point("collect")?;
        if let Some(membership) = self.membership
            && self.world.cluster.borrow().group.is_usurped(self.slot, membership)
        {
            return Err(fenced());
        }
        let polled = self.rejoin();
        self.running.retain(|partition, _| !polled.revoked.contains(partition));
        let events = 1 + self.world.plan.borrow_mut().below(bounds.events);
        *batch = self.take_records(events);
        Ok(polled)
    }

    fn run(&mut self, next: &[(i32, i64)]) -> Result<(), Fault> {
        self.point("run")?;
        self.running.extend(next.iter().copied());
        Ok(())
    }

    fn pause(&mut self, partition: i32) -> Result<(), Fault> {
        self.running.remove(&partition);
        Ok(())
    }

    fn follow(&mut self, from: &[(i32, i64)]) -> Result<(), Fault> {
        self.point("follow")?;
        self.heard.extend(from.iter().map(|(partition, from)| (*partition, (*from, false))));
        Ok(())
    }

    fn unfollow(&mut self, partition: i32) {
        self.heard.remove(&partition);
    }

    fn heard(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        let cluster = self.world.cluster.borrow();
        for (partition, (next, was_end)) in &mut self.heard {
            let log = cluster.log((Out::Retry(0), *partition));
            let most = self.world.plan.borrow_mut().below(4);
            for (offset, record) in log.committed(*next).take(most) {
                *next = offset + 1;
                *was_end = false;
                let record = loose(*partition, offset, record);
                heard.push(Heard::of(&record.input(), &record.headers()));
            }
            if log.committed(*next).next().is_none() && log.stable() == log.high() && !*was_end {
                *was_end = true;
                heard.push(Heard::End(*partition));
            }
        }
        heard
    }

    fn want(&mut self, wants: Vec<Want>) {
        self.wants.extend(wants);
    }

    fn fetched(&mut self) -> Vec<(Want, Option<Loose>)> {
        let ready = self.world.plan.borrow_mut().below(self.wants.len() + 1);
        let cluster = self.world.cluster.borrow();
        let fetch = |want: Want| {
            let record = match &want.record_at {
                RecordAt::Input => {
                    let record = &cluster.input[&want.partition][want.spot.1 as usize];
                    Loose {
                        partition: want.partition,
                        offset: want.spot.1,
                        timestamp: record.timestamp,
                        key: record.key.clone(),
                        value: record.value.clone(),
                        headers: Vec::new(),
                    }
                }
                RecordAt::Command { offset, .. } => {
                    let log = cluster.log((Out::Retry(0), want.partition));
                    let (at, record) = log.committed(*offset).next().expect("a command that was accepted is there");
                    assert_eq!(at, *offset);
                    loose(want.partition, at, record)
                }
            };
            (want, Some(record))
        };
        self.wants.drain(..ready).map(fetch).collect()
    }

    fn positions(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault> {
        self.point("positions")?;
        let undecided = self.world.cluster.borrow().group.undecided(partitions);
        if !undecided.is_empty() && self.world.control != Control::UnstableOffsets {
            self.world.await_decision(&undecided, Target::Offsets);
        }
        let cluster = self.world.cluster.borrow();
        Ok(partitions.iter().map(|partition| (*partition, cluster.group.stored(*partition).cloned())).collect())
    }

    fn glance(&mut self, partitions: &[i32]) -> Result<Vec<(i32, Option<Stored>)>, Fault> {
        self.point("glance")?;
        let cluster = self.world.cluster.borrow();
        if !cluster.group.undecided(partitions).is_empty() {
            return Err(unsure("not decided"));
        }
        let told = |partition: &i32| (*partition, cluster.group.stored(*partition).cloned());
        let is_blind = self.world.control == Control::NoLookingBack;
        Ok(partitions.iter().filter(|_| !is_blind).map(told).collect())
    }

    fn input_ends(&mut self, partition: i32) -> Result<Ends, Fault> {
        self.point("input_ends")?;
        let high = self.world.cluster.borrow().arrived[&partition] as i64;
        Ok(Ends { start: 0, stable: high, high })
    }

    fn first_after(&mut self, times: &[(i32, i64)]) -> Result<BTreeMap<i32, i64>, Fault> {
        // Nothing happens between the question before and this one that could not happen before both.
        let cluster = self.world.cluster.borrow();
        let first = |(partition, time): &(i32, i64)| {
            let arrived = cluster.input[partition].iter().take(cluster.arrived[partition]);
            Some((*partition, arrived.enumerate().find(|(_, record)| record.timestamp > *time)?.0 as i64))
        };
        Ok(times.iter().filter_map(first).collect())
    }

    fn ends(&mut self, out: Out, partition: i32) -> Result<Ends, Fault> {
        let high = self.world.cluster.borrow().log((out, partition)).high();
        self.point("ends")?;
        let stable = self.world.cluster.borrow().log((out, partition)).stable();
        Ok(self.broken_ends(out, Ends { start: 0, stable, high }))
    }

    fn scan(
        &mut self,
        out: Out,
        partition: i32,
        from: i64,
        budget_ms: u64,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Scanned, Fault> {
        self.point("scan")?;
        if let Some(scanned) = self.broken_scan(out, partition, from, each) {
            return Ok(scanned);
        }
        let most = 1 + self.world.plan.borrow_mut().below(40);
        let (scanned, waits_for) = {
            let cluster = self.world.cluster.borrow();
            let log = cluster.log((out, partition));
            let mut scanned = Scanned { next: from, is_end: true };
            for (read, (offset, record)) in log.committed(from).enumerate() {
                scanned.next = offset + 1;
                scanned.is_end = false;
                if each(self.found(out, offset, record)).is_break() || read + 1 == most {
                    return Ok(scanned);
                }
            }
            scanned.is_end = true;
            (scanned, log.open_producers())
        };
        if !waits_for.is_empty() {
            self.world.cluster.borrow_mut().clock_ms += budget_ms as i64;
            self.world.await_decision(&waits_for, Target::Log(out, partition));
        }
        Ok(scanned)
    }

    fn recycle(&mut self) -> Result<(), Fault> {
        self.point("recycle")?;
        if self.abort_instead_of_recycling()? {
            return Ok(());
        }
        self.epoch = None;
        if self.world.strikes(Mishap::LateInit) {
            self.world.cluster.borrow_mut().post(self.slot, 0, Kind::Init);
        }
        self.world.cluster.borrow_mut().transactions.fence(self.slot);
        self.point("InitProducerId")?;
        let mut cluster = self.world.cluster.borrow_mut();
        cluster.transactions.fence(self.slot);
        cluster.mark_all(self.slot);
        self.epoch = cluster.transactions.renew(self.slot);
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Fault> {
        self.point("begin")?;
        self.begun = self.membership;
        self.added.clear();
        self.acks.clear();
        self.is_failed = false;
        self.is_tainted = false;
        if self.begun.is_none() { Err(unsure("not a member of the group")) } else { Ok(()) }
    }

    fn produce(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.point("produce")?;
        if self.is_withheld(record) { Ok(()) } else { self.send(record) }
    }

    fn settle(&mut self) -> Result<Acks, Fault> {
        self.point("settle")?;
        if self.is_failed { Err(unsure("a record was refused")) } else { Ok(self.acks.clone()) }
    }

    fn send_offsets(&mut self, offsets: &[(i32, i64, String)]) -> Result<(), Fault> {
        self.point("send_offsets")?;
        if self.world.control == Control::OffsetsOutside {
            self.world.cluster.borrow_mut().group.commit(offsets);
            return Ok(());
        }
        if !self.add(Target::Offsets)? {
            return Err(unsure("fenced"));
        }
        self.stage(offsets, self.epoch.unwrap_or_default())?;
        self.point("offsets sent")
    }

    fn commit(&mut self) -> Result<bool, Fault> {
        self.point("commit")?;
        let epoch = self.epoch.ok_or_else(|| unsure("no producer"))?;
        if self.is_undone_by_plan() {
            return Ok(true);
        }
        if self.is_torn_by_plan() {
            return Err(unsure("torn"));
        }
        if !self.added.is_empty() {
            self.end(epoch, true)?;
        }
        self.begun = None;
        self.point("committed")?;
        let is_clean = self.is_clean();
        Ok(is_clean)
    }

    fn clean_partitions(&self) -> i32 {
        self.world.cluster.borrow().clean_partitions
    }

    fn input_partitions(&self) -> i32 {
        self.world.cluster.borrow().input.len() as i32
    }

    fn now_ms(&self) -> i64 {
        NOW + self.world.cluster.borrow().clock_ms
    }

    fn nonce(&mut self) -> u64 {
        self.world.cluster.borrow_mut().nonce()
    }
}

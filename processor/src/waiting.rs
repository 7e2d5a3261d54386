//! The events of one partition that wait: parked behind another of their resource, or for their next try.
//!
//! Pure. A queue per resource, in the order of offsets; its head alone can have its turn, unless order is given up.
//! A million parked events cost sixteen bytes each and no time: only what is due is ever looked at.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::books::Place;
use crate::state::ResourceHash;
use crate::state::wait::{Detail, RecordAt, WaitChange, Waits};

/// One waiting event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its offset in `verified-events`.
    pub src: i64,
    /// `None`: it only stands behind another one.
    pub detail: Option<Box<Detail>>,
}

impl Item {
    /// Where it is in the books.
    pub fn place(&self) -> Place {
        if self.detail.as_ref().is_some_and(|detail| detail.is_retrying) { Place::Retrying } else { Place::Parked }
    }

    /// Where its record lies.
    pub fn record_at(&self) -> RecordAt {
        self.detail.as_ref().map_or(RecordAt::Input, |detail| detail.record_at.clone())
    }

    /// How often it was redriven.
    pub fn generation(&self) -> u64 {
        self.detail.as_ref().map_or(0, |detail| detail.generation)
    }

    fn due_ms(&self) -> i64 {
        self.detail.as_ref().map_or(0, |detail| detail.due_ms)
    }
}

#[derive(Debug)]
struct Queue {
    source: Arc<str>,
    slot: u16,
    items: VecDeque<Item>,
}

/// Who waits, by where to find it.
pub type Spot = (ResourceHash, i64);

/// Everything that waits in one partition.
#[derive(Debug, Default)]
pub struct Waiting {
    queues: HashMap<ResourceHash, Queue>,
    /// Whose turn comes when, by due time.
    due: BTreeSet<(i64, i64, ResourceHash)>,
    /// Whose turn is under way: an answer from elsewhere is awaited.
    busy: HashSet<Spot>,
    sources: HashSet<Arc<str>>,
    len: usize,
    /// Events pass those of their resource that wait.
    is_overtaking: bool,
}

impl Waiting {
    /// Nothing waits. `is_overtaking`: order is given up.
    pub fn new(is_overtaking: bool) -> Self {
        Self { is_overtaking, ..Self::default() }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many resources have waiting events.
    pub fn resources(&self) -> usize {
        self.queues.len()
    }

    /// How many of a resource wait.
    pub fn len_of(&self, resource: ResourceHash) -> usize {
        self.queues.get(&resource).map_or(0, |queue| queue.items.len())
    }

    /// Whether a new event of this resource has to stand behind others.
    pub fn holds_back(&self, resource: ResourceHash) -> bool {
        !self.is_overtaking && self.queues.contains_key(&resource)
    }

    /// One that waits.
    pub fn get(&self, (resource, src): Spot) -> Option<&Item> {
        let queue = self.queues.get(&resource)?;
        queue.items.get(queue.items.binary_search_by_key(&src, |item| item.src).ok()?)
    }

    /// Whether any event of this offset waits.
    pub fn has(&self, src: i64) -> bool {
        self.queues.values().any(|queue| queue.items.binary_search_by_key(&src, |item| item.src).is_ok())
    }

    /// Those of these offsets that wait, found in one pass.
    pub fn those_of(&self, srcs: impl Iterator<Item = i64>) -> HashSet<i64> {
        let wanted: HashSet<i64> = srcs.collect();
        if wanted.is_empty() {
            return wanted;
        }
        let items = self.queues.values().flat_map(|queue| &queue.items);
        items.map(|item| item.src).filter(|src| wanted.contains(src)).collect()
    }

    /// Whether its turn is under way.
    pub fn is_busy(&self, spot: Spot) -> bool {
        self.busy.contains(&spot)
    }

    /// Who of a resource may have its turn because the one before it is through. Where order is given up, nobody has
    /// waited for that one.
    pub fn next_of(&self, resource: ResourceHash, by_ms: i64) -> Option<Spot> {
        let head = self.queues.get(&resource).filter(|_| !self.is_overtaking)?.items.front()?;
        let spot = (resource, head.src);
        (head.due_ms() <= by_ms && !self.is_busy(spot)).then_some(spot)
    }

    /// The slot of a resource that waits.
    pub fn slot(&self, resource: ResourceHash) -> Option<u16> {
        self.queues.get(&resource).map(|queue| queue.slot)
    }

    /// The source of a resource that waits.
    pub fn source(&self, resource: ResourceHash) -> Option<Arc<str>> {
        self.queues.get(&resource).map(|queue| Arc::clone(&queue.source))
    }

    /// Takes a change over.
    pub fn apply(&mut self, change: &WaitChange) {
        match &change.now {
            Some(waits) => self.put(change, waits),
            None => self.remove((change.resource, change.src)),
        }
    }

    fn put(&mut self, change: &WaitChange, waits: &Waits) {
        let spot = (change.resource, change.src);
        self.unlist(spot);
        let source = match self.sources.get(waits.source.as_str()) {
            Some(source) => Arc::clone(source),
            None => {
                let source: Arc<str> = Arc::from(waits.source.as_str());
                self.sources.insert(Arc::clone(&source));
                source
            }
        };
        let queue = self.queues.entry(change.resource).or_insert_with(|| Queue {
            source,
            slot: change.slot,
            items: VecDeque::new(),
        });
        let item = Item { src: change.src, detail: waits.detail.clone() };
        match queue.items.binary_search_by_key(&change.src, |item| item.src) {
            Ok(at) => {
                if let Some(known) = queue.items.get_mut(at) {
                    *known = item;
                }
            }
            Err(at) => {
                queue.items.insert(at, item);
                self.len += 1;
            }
        }
        self.busy.remove(&spot);
        self.list(spot);
    }

    fn remove(&mut self, (resource, src): Spot) {
        self.unlist((resource, src));
        self.busy.remove(&(resource, src));
        let Some(queue) = self.queues.get_mut(&resource) else { return };
        if let Ok(at) = queue.items.binary_search_by_key(&src, |item| item.src) {
            queue.items.remove(at);
            self.len -= 1;
        }
        if queue.items.is_empty() {
            self.queues.remove(&resource);
        } else {
            self.list((resource, src));
        }
    }

    /// Whose turn a change of this one touches: the head of its resource, or itself where order is given up.
    fn eligible(&self, spot: Spot) -> Option<(i64, i64, ResourceHash)> {
        let item =
            if self.is_overtaking { self.get(spot) } else { self.queues.get(&spot.0).and_then(|q| q.items.front()) };
        item.map(|item| (item.due_ms(), item.src, spot.0))
    }

    fn unlist(&mut self, spot: Spot) {
        if let Some(listed) = self.eligible(spot) {
            self.due.remove(&listed);
        }
    }

    fn list(&mut self, spot: Spot) {
        if let Some(listed) = self.eligible(spot).filter(|(_, src, resource)| !self.busy.contains(&(*resource, *src))) {
            self.due.insert(listed);
        }
    }

    /// Those that are due by then, most urgent first.
    pub fn due(&self, by_ms: i64) -> impl Iterator<Item = Spot> + '_ {
        self.due.iter().take_while(move |(due, ..)| *due <= by_ms).map(|(_, src, resource)| (*resource, *src))
    }

    /// Lets nobody wait longer than its pause from now: the clock was ahead when the pause began.
    pub fn set_back(&mut self, now_ms: i64) {
        let mut late = Vec::new();
        for (resource, queue) in &self.queues {
            for item in &queue.items {
                let Some(detail) = &item.detail else { continue };
                let latest = now_ms.saturating_add(detail.pause_ms);
                if detail.due_ms > latest {
                    late.push(((*resource, item.src), latest));
                }
            }
        }
        for (spot, latest) in late {
            self.unlist(spot);
            let queue = self.queues.get_mut(&spot.0);
            let at = queue.as_ref().and_then(|queue| queue.items.binary_search_by_key(&spot.1, |item| item.src).ok());
            if let (Some(queue), Some(at)) = (queue, at)
                && let Some(detail) = queue.items.get_mut(at).and_then(|item| item.detail.as_mut())
            {
                detail.due_ms = latest;
            }
            self.list(spot);
        }
    }

    /// When the next one is due. 0: as soon as possible.
    pub fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// When the next one is due of those that wait for a time, and not for their turn as soon as possible.
    pub fn next_timed(&self) -> Option<i64> {
        self.due.range((1, i64::MIN, [0; 12])..).next().map(|(due, ..)| *due)
    }

    /// One that is due and those behind it, as far as they could have their turn in one go.
    pub fn run_of(&self, (resource, src): Spot, most: usize) -> impl Iterator<Item = &Item> {
        let queue = self.queues.get(&resource);
        let from = queue.and_then(|queue| queue.items.binary_search_by_key(&src, |item| item.src).ok());
        let most = if self.is_overtaking { 1 } else { most };
        let items = queue.into_iter().flat_map(move |queue| queue.items.iter().skip(from.unwrap_or(usize::MAX)));
        items.take(most)
    }

    /// Its turn is under way, or is over.
    pub fn set_busy(&mut self, spot: Spot, is_busy: bool) {
        self.unlist(spot);
        if is_busy {
            self.busy.insert(spot);
        } else {
            self.busy.remove(&spot);
        }
        self.list(spot);
    }

    /// Everything, as changes that bring it about.
    pub fn all(&self) -> impl Iterator<Item = WaitChange> + '_ {
        self.queues.iter().flat_map(|(resource, queue)| {
            queue.items.iter().map(move |item| WaitChange {
                slot: queue.slot,
                resource: *resource,
                src: item.src,
                now: Some(Waits { source: queue.source.to_string(), detail: item.detail.clone() }),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(resource: u8, src: i64, due_ms: Option<i64>) -> WaitChange {
        let detail = due_ms.map(|due_ms| Box::new(Detail { due_ms, is_retrying: true, ..Detail::default() }));
        let now = Some(Waits { source: "s".to_owned(), detail });
        WaitChange { slot: 1, resource: [resource; 12], src, now }
    }

    fn gone(resource: u8, src: i64) -> WaitChange {
        WaitChange { now: None, ..change(resource, src, None) }
    }

    fn due(waiting: &Waiting, by_ms: i64) -> Vec<i64> {
        waiting.due(by_ms).map(|(_, src)| src).collect()
    }

    #[test]
    fn only_the_head_of_a_resource_has_its_turn() {
        let mut waiting = Waiting::new(false);
        waiting.apply(&change(1, 10, Some(500)));
        waiting.apply(&change(1, 11, None));
        waiting.apply(&change(2, 12, Some(300)));
        assert!(waiting.holds_back([1; 12]) && !waiting.holds_back([3; 12]));
        assert_eq!(due(&waiting, 299), [0_i64; 0]);
        assert_eq!(due(&waiting, 500), [12, 10]);
        waiting.apply(&gone(1, 10));
        assert_eq!(due(&waiting, 0), [11], "the one behind is due at once");
        waiting.apply(&gone(1, 11));
        waiting.apply(&gone(2, 12));
        assert!(waiting.is_empty() && waiting.next_due().is_none() && waiting.resources() == 0);
    }

    #[test]
    fn those_that_wait_are_found_among_others_in_every_queue() {
        let mut waiting = Waiting::new(false);
        for (resource, src) in [(1, 10), (1, 11), (2, 12), (2, 14)] {
            waiting.apply(&change(resource, src, None));
        }
        assert_eq!(waiting.those_of([9, 11, 12, 13].into_iter()), [11, 12].into());
        assert!(waiting.those_of(std::iter::empty()).is_empty());
    }

    #[test]
    fn one_that_comes_back_stands_where_its_offset_puts_it() {
        let mut waiting = Waiting::new(false);
        waiting.apply(&change(1, 10, Some(500)));
        waiting.apply(&change(1, 5, Some(0)));
        assert_eq!(due(&waiting, 1000), [5], "the older one goes first");
        let run: Vec<i64> = waiting.run_of(([1; 12], 5), 9).map(|item| item.src).collect();
        assert_eq!(run, [5, 10]);
        waiting.apply(&gone(1, 5));
        assert_eq!(due(&waiting, 1000), [10]);
    }

    #[test]
    fn where_order_is_given_up_each_has_its_own_turn() {
        let mut waiting = Waiting::new(true);
        waiting.apply(&change(1, 10, Some(500)));
        waiting.apply(&change(1, 11, Some(100)));
        assert!(!waiting.holds_back([1; 12]));
        assert_eq!(due(&waiting, 500), [11, 10]);
        waiting.set_busy(([1; 12], 11), true);
        assert_eq!(due(&waiting, 500), [10]);
        waiting.apply(&change(1, 10, Some(700)));
        assert_eq!((due(&waiting, 500).len(), due(&waiting, 700)), (0, vec![10]));
        waiting.apply(&gone(1, 10));
        waiting.set_busy(([1; 12], 11), false);
        assert_eq!(due(&waiting, 700), [11]);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer_than_its_pause() {
        let mut waiting = Waiting::new(false);
        let with_pause = |resource: u8, src: i64, due_ms: i64, pause_ms: i64| {
            let mut change = change(resource, src, Some(due_ms));
            let detail = change.now.as_mut().and_then(|now| now.detail.as_mut()).expect("it has one");
            detail.pause_ms = pause_ms;
            change
        };
        waiting.apply(&with_pause(1, 10, 7_000_500, 500));
        waiting.apply(&change(1, 11, None));
        waiting.apply(&with_pause(2, 12, 1_200, 500));
        waiting.apply(&with_pause(3, 14, 7_000_000, 900));
        waiting.apply(&with_pause(3, 13, 0, 0));
        waiting.set_back(1_000);
        assert_eq!(due(&waiting, 1_499), [13, 12]);
        assert_eq!(due(&waiting, 1_500), [13, 12, 10]);
        // Whoever stood behind another keeps its new time.
        waiting.apply(&gone(3, 13));
        assert_eq!((due(&waiting, 1_899).len(), due(&waiting, 1_900)), (2, vec![12, 10, 14]));
        waiting.apply(&gone(3, 14));
        waiting.apply(&gone(1, 10));
        assert_eq!(due(&waiting, 1_000), [11]);
    }

    #[test]
    fn one_whose_turn_is_under_way_is_not_due() {
        let mut waiting = Waiting::new(false);
        waiting.apply(&change(1, 10, Some(0)));
        waiting.set_busy(([1; 12], 10), true);
        assert_eq!(due(&waiting, 1), [0_i64; 0]);
        waiting.set_busy(([1; 12], 10), false);
        assert_eq!(due(&waiting, 1), [10]);
    }

    #[test]
    fn everything_can_be_written_down_and_taken_up_again() {
        let mut waiting = Waiting::new(false);
        for change in [change(1, 10, Some(5)), change(1, 12, None), change(2, 11, None)] {
            waiting.apply(&change);
        }
        let mut again = Waiting::new(false);
        for change in waiting.all() {
            again.apply(&change);
        }
        assert_eq!((again.len(), due(&again, 10)), (3, due(&waiting, 10)));
    }
}

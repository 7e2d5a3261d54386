//! One thing wrong with a perfect day at a time: the check must see each.

use std::collections::BTreeMap;

use super::*;
use crate::event::Place;
use crate::forge::Forgery;
use crate::observed::{Control, DeadLetter, Emitted, Verified};
use crate::perfect::{Day, PARTITIONS, emitted, verified};

impl Day {
    fn findings(&self) -> Vec<Finding> {
        let case = self.case();
        check(&case, &Fates::new(&case))
    }

    /// Some trouble of this kind is found, and its text names `id`.
    fn expect(&self, trouble: Trouble, id: &str) {
        let findings = self.findings();
        let is_it = |finding: &Finding| finding.trouble == trouble && finding.text.contains(id);
        assert!(findings.iter().any(is_it), "no {trouble:?} of {id} among {findings:#?}");
    }

    /// The first accepted event that belongs into such a place.
    fn event(&self, wanted: impl Fn(Place) -> bool) -> usize {
        let is_there = |digest| self.observed.verified.iter().any(|record| record.digest == digest);
        let events = self.plan.events.iter();
        let mut found = events.enumerate().filter(|(_, event)| wanted(event.place) && is_there(event.digest));
        found.next().expect("a day has everything").0
    }
}

fn is_clean(place: Place) -> bool {
    matches!(place, Place::Clean { flagged: false })
}

#[test]
fn a_perfect_day_has_no_trouble() {
    assert_eq!(Day::perfect().findings(), []);
}

#[test]
fn the_negative_controls_are_found_out() {
    for (control, trouble) in [(Control::LoseOne, Trouble::Lost), (Control::DoubleOne, Trouble::Doubled)] {
        let mut day = Day::perfect();
        let id = day.observed.pretend(control, 4);
        day.expect(trouble, &id);
    }
}

#[test]
fn an_acknowledged_event_that_never_reached_kafka_is_lost() {
    let mut day = Day::perfect();
    let event = day.event(is_clean);
    let digest = day.plan.events[event].digest;
    day.observed.verified.retain(|record| record.digest != digest);
    day.observed.clean.retain(|record| record.digest != digest);
    day.expect(Trouble::Lost, &day.plan.events[event].id);
}

#[test]
fn a_record_that_nobody_delivered_is_doubled_unless_its_provider_cannot_know() {
    let mut day = Day::perfect();
    let copy = day.observed.verified[40].clone();
    let id = copy.id.clone();
    let event = day.plan.events.iter().position(|event| event.digest == copy.digest).expect("ours");
    // At the end of its partition, where nobody's order is disturbed.
    let offset = day.observed.verified.iter().map(|record| record.at.offset).max().expect("some") + 1;
    day.observed.verified.push(Verified { at: Position { offset, ..copy.at }, ..copy });
    day.expect(Trouble::Doubled, &id);
    let is_of_it = |delivery: &Delivery| matches!(delivery, Delivery::Event { event: of, .. } if *of == event);
    let delivery = day.plan.deliveries.iter().position(is_of_it).expect("delivered");
    day.ledger.entries[delivery].broken = 1;
    assert_eq!(day.findings(), []);
}

#[test]
fn events_in_the_wrong_topic_are_misplaced() {
    let places: [fn(Place) -> bool; 4] = [
        |place| place == Place::StaleDropped,
        |place| place == Place::StaleRouted,
        |place| place == Place::Conflict,
        |place| matches!(place, Place::Dead(_)),
    ];
    for place in places {
        let mut day = Day::perfect();
        let event = day.event(place);
        let digest = day.plan.events[event].digest;
        let first = day.observed.verified.iter().find(|record| record.digest == digest).expect("accepted").clone();
        day.observed.clean.push(emitted(&day.plan.events[event], &first, 1_000_000));
        day.expect(Trouble::Misplaced, &day.plan.events[event].id);
    }
}

#[test]
fn a_forgery_that_got_in_is_found_even_when_the_door_said_no() {
    let mut day = Day::perfect();
    let is_it = |delivery: &Delivery| matches!(delivery, Delivery::Forged { forgery: Forgery::WrongSecret, .. });
    let delivery = day.plan.deliveries.iter().find(|delivery| is_it(delivery)).expect("a day has forgeries");
    let Delivery::Forged { event, .. } = *delivery else { unreachable!() };
    let event = &day.plan.events[event];
    day.observed.verified.push(verified(event, &mut BTreeMap::from([(0, 1_000_000)])));
    day.expect(Trouble::Misplaced, &event.id);
}

#[test]
fn a_body_that_was_changed_on_the_way_is_foreign() {
    let mut day = Day::perfect();
    day.observed.clean[7].digest = [0; 32];
    let id = day.observed.clean[7].header("ce_id").expect("an id").to_owned();
    day.expect(Trouble::Foreign, &id);
    day.expect(Trouble::Lost, &id);
}

#[test]
fn every_wrong_header_is_found() {
    let names = ["ce_id", "ce_type", "ce_time", "ce_subject", "content-type", "ce_idempotencykey", "ce_receivedtime"];
    for name in names.into_iter().chain(["ce_assurance", "ce_attempt", "ce_origin", "weir-src", "weir-seq"]) {
        let mut day = Day::perfect();
        let record = day.observed.clean.iter_mut().find(|record| record.header("ce_time").is_some()).expect("emitted");
        let id = record.header("ce_id").expect("an id").to_owned();
        for (known, value) in &mut record.headers {
            if known == name {
                value.insert(0, '1');
            }
        }
        day.expect(Trouble::Malformed, if name == "weir-seq" { name } else { &id });
    }
}

#[test]
fn a_missing_flag_an_extra_header_and_a_wrong_partition_are_found() {
    let changes: [fn(&mut Emitted); 4] = [
        |record| record.headers.retain(|(name, _)| name != "ce_stale"),
        |record| record.headers.push(("x-debug".to_owned(), String::new())),
        |record| record.headers.push(("ce_id".to_owned(), "twice".to_owned())),
        |record| record.at.partition = (record.at.partition + 1) % PARTITIONS,
    ];
    for change in changes {
        let mut day = Day::perfect();
        let id = day.plan.events[day.event(|place| place == Place::Clean { flagged: true })].id.clone();
        let record = day.observed.clean.iter_mut().find(|record| record.header("ce_id") == Some(&id)).expect("emitted");
        change(record);
        day.expect(Trouble::Malformed, &id);
    }
}

#[test]
fn a_dead_letter_with_another_reason_or_origin_is_found() {
    let changes: [fn(&mut DeadLetter); 4] = [
        |letter| letter.reason = "poison".to_owned(),
        |letter| letter.dead_id.push('1'),
        |letter| letter.original.offset += 1,
        |letter| letter.original_key.clear(),
    ];
    for change in changes {
        let mut day = Day::perfect();
        let id = day.observed.dead[0].id.clone();
        change(&mut day.observed.dead[0]);
        day.expect(Trouble::Malformed, &id);
    }
}

/// Two clean records of one resource.
fn neighbours(day: &Day) -> (usize, usize) {
    let clean = &day.observed.clean;
    let pairs = (0..clean.len()).flat_map(|a| (a + 1..clean.len()).map(move |b| (a, b)));
    let mut same = pairs.filter(|(a, b)| clean[*a].key == clean[*b].key);
    same.next().expect("resources have more than one event")
}

#[test]
fn two_events_of_a_resource_that_changed_places_are_reordered() {
    let mut day = Day::perfect();
    let (a, b) = neighbours(&day);
    let id = day.observed.clean[a].header("ce_id").expect("an id").to_owned();
    let at = day.observed.clean[a].at;
    day.observed.clean[a].at = day.observed.clean[b].at;
    day.observed.clean[b].at = at;
    day.expect(Trouble::Reordered, &id);
}

#[test]
fn an_event_that_lies_before_one_that_was_accepted_first_is_reordered() {
    let mut day = Day::perfect();
    let (a, b) = neighbours(&day);
    let of = |digest: Digest| day.plan.events.iter().position(|event| event.digest == digest).expect("ours");
    let (a, b) = (of(day.observed.clean[a].digest), of(day.observed.clean[b].digest));
    for (delivery, entry) in day.plan.deliveries.iter().zip(&mut day.ledger.entries) {
        match delivery {
            Delivery::Event { event, .. } if *event == a => (entry.sent, entry.answered) = (1_000_005, 1_000_006),
            Delivery::Event { event, .. } if *event == b => (entry.sent, entry.answered) = (1_000_000, 1_000_001),
            _ => {}
        }
    }
    day.expect(Trouble::Reordered, &day.plan.events[a].id);
}

#[test]
fn a_record_used_twice_and_a_gap_in_a_sequence_are_found() {
    let mut day = Day::perfect();
    let src = day.observed.clean[3].src().expect("a source").to_string();
    for (name, value) in &mut day.observed.clean[4].headers {
        if name == "weir-src" {
            value.clone_from(&src);
        }
    }
    day.expect(Trouble::Malformed, &format!("both come from {src}"));

    let mut day = Day::perfect();
    for record in &mut day.observed.clean {
        if record.at.partition == 0 {
            for (_, value) in record.headers.iter_mut().filter(|(name, _)| name == "weir-seq") {
                *value = (value.parse::<u64>().expect("a number") + 1).to_string();
            }
        }
    }
    day.expect(Trouble::Malformed, "partition 0 goes from 0 to 2");
}

#[test]
fn a_wrong_answer_is_found() {
    let mut day = Day::perfect();
    day.ledger.entries[100].complaint = Some("answered 500".to_owned());
    day.expect(Trouble::Answer, "answered 500");
}

//! Heads and bodies as attackers and broken proxies send them.

use http::Request;

use super::*;
use crate::testing::{self, Pieces};

fn parts(change: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
    let request = Request::builder().method("POST").uri("/hooks/github").header("host", "x");
    change(request).body(()).expect("a request").into_parts().0
}

fn judged(parts: &Parts) -> Result<(), ReasonCode> {
    let sources = testing::sources(testing::TOML);
    let source = source(parts, &sources)?;
    head(parts, source)
}

#[test]
fn a_request_is_for_the_source_its_path_names() {
    assert_eq!(judged(&parts(|r| r)), Ok(()));
    assert_eq!(judged(&parts(|r| r.uri("http://elsewhere/hooks/github?x=1"))), Ok(()));
    let long = format!("/hooks/{}", "a".repeat(9 * 1024));
    let paths = [
        "/",
        "/hooks",
        "/hooks/",
        "/hooks/nobody",
        "/hooks/github/",
        "/hooks/github;x",
        "/hooks//github",
        "//hooks/github",
        "/hooks/../hooks/github",
        "/hooks/%67ithub",
        "/hooks/github%00",
        "/hooks/GitHub",
        "/Hooks/github",
        "/healthz",
        "/hooks/%c0%ae",
        &long,
    ];
    for path in paths {
        assert_eq!(judged(&parts(|r| r.uri(path))), Err(ReasonCode::UnknownSource), "{path}");
    }
}

#[test]
fn only_post_is_accepted() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "post", "BREW"] {
        assert_eq!(judged(&parts(|r| r.method(method))), Err(ReasonCode::MethodNotAllowed), "{method}");
    }
}

#[test]
fn a_host_is_there_once() {
    assert_eq!(judged(&parts(|r| r.header("host", "y"))), Err(ReasonCode::BadRequest));
    let without = |version| {
        let request = Request::builder().method("POST").uri("/hooks/github").version(version);
        judged(&request.body(()).expect("a request").into_parts().0)
    };
    assert_eq!(without(Version::HTTP_11), Err(ReasonCode::BadRequest));
    assert_eq!(without(Version::HTTP_10), Ok(()));
    assert_eq!(without(Version::HTTP_2), Ok(()));
}

#[test]
fn an_encoded_body_is_not_accepted() {
    for encoding in ["gzip", "identity, gzip", "gzip;q=1", "br", "x", "", "identity, identity"] {
        let parts = parts(|r| r.header("content-encoding", encoding));
        assert_eq!(judged(&parts), Err(ReasonCode::UnsupportedEncoding), "{encoding}");
    }
    for encoding in ["identity", "Identity", " identity "] {
        assert_eq!(judged(&parts(|r| r.header("content-encoding", encoding))), Ok(()), "{encoding}");
    }
    let two = parts(|r| r.header("content-encoding", "identity").header("content-encoding", "gzip"));
    assert_eq!(judged(&two), Err(ReasonCode::UnsupportedEncoding));
}

#[test]
fn headers_are_bounded_in_number_and_size() {
    let many = |count: usize| {
        parts(|request| (0..count).fold(request, |request, number| request.header(format!("x-{number}"), "1")))
    };
    assert_eq!(judged(&many(limits::HEADERS_MAX - 1)), Ok(()));
    assert_eq!(judged(&many(limits::HEADERS_MAX)), Err(ReasonCode::HeadersTooLarge));
    let one = |size: usize| parts(|r| r.header("x-a", "a".repeat(size)));
    assert_eq!(judged(&one(limits::HEADER_BYTES_MAX - 3)), Ok(()));
    assert_eq!(judged(&one(limits::HEADER_BYTES_MAX - 2)), Err(ReasonCode::HeadersTooLarge));
    let three = parts(|r| (0..3).fold(r, |r, n| r.header(format!("x-{n}"), "a".repeat(12 * 1024))));
    assert_eq!(judged(&three), Err(ReasonCode::HeadersTooLarge));
}

#[test]
fn a_header_that_takes_part_in_signature_or_identity_stands_once() {
    let cases: [(&str, &[&str]); 5] = [
        ("github", &["x-hub-signature-256", "x-github-delivery", "x-github-event"]),
        ("slack", &["x-slack-signature", "x-slack-request-timestamp"]),
        ("shopify", &["x-shopify-hmac-sha256", "shopify-hmac-sha256", "x-shopify-webhook-id", "x-shopify-topic"]),
        ("svix", &["svix-id", "svix-timestamp", "svix-signature", "webhook-id", "webhook-timestamp"]),
        ("warehouse", &["x-warehouse-signature"]),
    ];
    for (name, headers) in cases {
        for header in headers {
            for (first, second) in [("a", "a"), ("a", "b")] {
                let uri = format!("/hooks/{name}");
                let twice = parts(|r| r.uri(uri).header(*header, first).header(*header, second));
                assert_eq!(judged(&twice), Err(ReasonCode::DuplicateHeader), "{name} {header}");
            }
        }
    }
    assert_eq!(judged(&parts(|r| r.header("x-any", "a").header("x-any", "b"))), Ok(()));
}

#[test]
fn a_joined_header_is_a_doubled_one_where_the_scheme_has_no_lists() {
    let with = |uri: &str, header: &str, value: &str| judged(&parts(|r| r.uri(uri).header(header, value)));
    let joined = Err(ReasonCode::DuplicateHeader);
    assert_eq!(with("/hooks/github", "x-hub-signature-256", "sha256=ab, sha256=ab"), joined);
    assert_eq!(with("/hooks/slack", "x-slack-request-timestamp", "1,1"), joined);
    assert_eq!(with("/hooks/svix", "svix-timestamp", "1, 2"), joined);
    assert_eq!(with("/hooks/github", "x-github-delivery", "a, b"), joined);
    assert_eq!(with("/hooks/shopify", "x-shopify-webhook-id", "a,b"), joined);
    assert_eq!(with("/hooks/svix", "svix-id", "a,b"), Ok(()), "the signature covers it");
    assert_eq!(with("/hooks/github", "x-github-event", "a,b"), Ok(()), "a type is no identity");
    assert_eq!(with("/hooks/stripe", "stripe-signature", "t=1,v1=ab"), Ok(()));
    assert_eq!(with("/hooks/svix", "svix-signature", "v1,ab v1,cd"), Ok(()));
}

#[test]
fn a_declared_length_is_a_number_within_the_limit() {
    let with = |length: &str| judged(&parts(|r| r.uri("/hooks/warehouse").header("content-length", length)));
    assert_eq!(with("4096"), Ok(()));
    assert_eq!(with("0"), Ok(()));
    assert_eq!(with("4097"), Err(ReasonCode::BodyTooLarge));
    assert_eq!(with("18446744073709551615"), Err(ReasonCode::BodyTooLarge));
    for wrong in ["", "+5", "-1", "0x10", "18446744073709551616", "5, 6", "1e3", "five"] {
        assert_eq!(with(wrong), Err(ReasonCode::BadRequest), "{wrong:?}");
    }
}

async fn read(pieces: Pieces, limit: usize, room: usize) -> Result<Bytes, ReasonCode> {
    let room = Room::new(0, room);
    let mut pieces = pieces;
    let read = body(&mut pieces, limit, &room, Duration::from_millis(50)).await;
    read.map(|buffered| buffered.bytes)
}

#[tokio::test]
async fn a_body_is_one_buffer_however_it_arrives() {
    let cases: [&[&[u8]]; 5] = [&[], &[b"abc"], &[b"ab", b"", b"c"], &[b"", b"a", b"b", b"c"], &[b"", b""]];
    for pieces in cases {
        let expected = pieces.concat();
        assert_eq!(read(Pieces::new(pieces.iter().copied()), 3, 100).await.as_deref(), Ok(expected.as_slice()));
    }
    let single = vec![b'x'; 5000];
    let bytes: Vec<&[u8]> = single.chunks(1).collect();
    assert_eq!(read(Pieces::new(bytes), 5000, 5000).await.as_deref(), Ok(single.as_slice()));
}

#[tokio::test]
async fn a_body_is_cut_at_its_limit_whatever_was_declared() {
    assert!(read(Pieces::new([b"abc".as_slice()]), 3, 100).await.is_ok());
    for pieces in [&[b"abcd".as_slice()][..], &[b"ab", b"cd"], &[b"a", b"b", b"c", b"d"]] {
        let read = read(Pieces::new(pieces.iter().copied()), 3, 100).await;
        assert_eq!(read, Err(ReasonCode::BodyTooLarge));
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_runs_out_of_time() {
    assert_eq!(read(Pieces::stalled([]), 3, 100).await, Err(ReasonCode::Timeout));
    assert_eq!(read(Pieces::stalled([b"a".as_slice()]), 3, 100).await, Err(ReasonCode::Timeout));
}

#[tokio::test]
async fn bodies_share_a_bounded_room_and_give_it_back() {
    assert_eq!(read(Pieces::new([b"abc".as_slice()]), 100, 2).await, Err(ReasonCode::Overloaded));
    let room = Room::new(0, 4);
    let second = Duration::from_secs(1);
    let held = body(&mut Pieces::new([b"ab".as_slice(), b"c"]), 100, &room, second).await.expect("room");
    let refused = body(&mut Pieces::new([b"xy".as_slice()]), 100, &room, second).await;
    assert_eq!(refused.map(|_| ()), Err(ReasonCode::Overloaded));
    drop(held);
    assert_eq!(room.shared.available_permits(), 4);
}

#[tokio::test]
async fn small_bodies_need_no_room_when_large_ones_fill_it() {
    let room = Room::new(4, 6);
    let second = Duration::from_secs(1);
    let large = body(&mut Pieces::new([b"0123456789".as_slice()]), 100, &room, second).await.expect("room");
    assert_eq!(room.shared.available_permits(), 0);
    for pieces in [&[b"abcd".as_slice()][..], &[b"ab", b"cd"]] {
        let small = body(&mut Pieces::new(pieces.iter().copied()), 100, &room, second).await;
        assert!(small.is_ok(), "a body has four bytes of its own: {small:?}");
    }
    let refused = body(&mut Pieces::new([b"abcd".as_slice(), b"e"]), 100, &room, second).await;
    assert_eq!(refused.map(|_| ()), Err(ReasonCode::Overloaded));
    drop(large);
    assert_eq!(room.shared.available_permits(), 6);
}

#[tokio::test]
async fn what_is_thrown_away_is_bounded() {
    let places = Arc::new(Semaphore::new(1));
    let large = vec![0_u8; 1024 * 1024];
    let endless = std::iter::repeat_n(large.as_slice(), 64);
    discard(Pieces::new(endless), Arc::clone(&places)).await;
    assert_eq!(places.available_permits(), 1);
}

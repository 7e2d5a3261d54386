//! The pool against a server of the test's own, written out by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

/// How long anything here may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each connection once, with what `answer` makes of the request; `None` keeps it waiting.
fn serve(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.expect("a caller"), Arc::clone(&answer));
            std::thread::spawn(move || exchange(stream, answer.as_ref()));
        }
    });
    address
}

fn exchange(mut stream: TcpStream, answer: &(dyn Fn(&str) -> Option<String> + Send + Sync)) {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
            Ok(_) | Err(_) => return,
        }
    }
    match answer(&String::from_utf8_lossy(&request)) {
        Some(text) => stream.write_all(text.as_bytes()).unwrap_or_default(),
        // Until the caller gives up.
        None => drop(stream.read(&mut piece)),
    }
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn call(url: String) -> Call {
    Call {
        method: "GET".to_owned(),
        url,
        headers: vec![("authorization".to_owned(), "hunter2".to_owned())],
        body: Vec::new(),
        timeout_ms: 10_000,
        concurrency: 4,
        body_max: 1000,
        may_be_private: true,
    }
}

fn ticket(number: u64) -> Ticket {
    Ticket { partition: 0, offset: 0, generation: 0, number }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// The replies to so many calls.
fn collect(line: &mut Line, count: usize) -> Vec<(Ticket, Reply)> {
    let deadline = Instant::now() + PATIENCE;
    let mut replies = Vec::new();
    while replies.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} replies", replies.len());
        replies.extend(line.replies());
        std::thread::yield_now();
    }
    replies
}

/// What comes of one call.
fn one(call: Call) -> Reply {
    let runtime = runtime();
    let mut line = Pool::new(runtime.handle().clone()).expect("a pool").line();
    line.call(ticket(1), call);
    let (back, reply) = collect(&mut line, 1).remove(0);
    assert_eq!(back, ticket(1));
    reply
}

#[test]
fn an_answer_comes_back_with_its_status_headers_and_body() {
    let address = serve(|request| {
        assert!(request.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: hunter2\r\n") && request.contains("user-agent: weir/"), "{request}");
        let moved =
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/x\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nhi";
        Some(moved.to_owned())
    });
    let post = Call { method: "POST".to_owned(), body: b"x".to_vec(), ..call(format!("http://{address}/a?b=c")) };
    let Reply::Answered { status, headers, body } = one(post) else { panic!("an answer") };
    assert_eq!((status, body.as_slice()), (302, b"hi".as_slice()), "redirects are not followed");
    assert!(headers.contains(&("retry-after".to_owned(), "7".to_owned())), "{headers:?}");
}

#[test]
fn a_host_that_answers_slowly_gathers_so_many_calls_and_no_more() {
    let address = serve(|_| None);
    let runtime = runtime();
    let mut line = Pool::new(runtime.handle().clone()).expect("a pool").line();
    let slow = Call { concurrency: 1, ..call(format!("http://{address}/")) };
    let more = 7;
    // One is under way, so many wait.
    for number in 0..(1 + QUEUED + more) as u64 {
        line.call(ticket(number), slow.clone());
    }
    let refused = collect(&mut line, more);
    let first = 1 + QUEUED as u64;
    for (number, (back, reply)) in (first..).zip(refused) {
        assert_eq!(back, ticket(number));
        let Reply::Open { retry_in_ms } = reply else { panic!("{reply:?}") };
        assert!((FULL_MS..=2 * FULL_MS).contains(&retry_in_ms), "{retry_in_ms}");
    }
}

#[test]
fn an_answer_that_is_too_long_is_not_taken_said_or_unsaid() {
    let said = serve(|_| Some(response("200 OK", &"x".repeat(1001))));
    let unsaid = serve(|_| Some(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(5000))));
    for address in [said, unsaid] {
        let message = "the answer has more than 1000 bytes".to_owned();
        assert_eq!(one(call(format!("http://{address}/"))), Reply::Refused { message });
    }
    let fits = serve(|_| Some(response("200 OK", &"x".repeat(1000))));
    assert!(matches!(one(call(format!("http://{fits}/"))), Reply::Answered { status: 200, .. }));
}

#[test]
fn a_private_address_is_refused_however_it_is_written() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let address = serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Some(response("200 OK", "{}"))
    });
    let port = address.port();
    for host in ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"] {
        let public = Call { may_be_private: false, ..call(format!("http://{host}:{port}/")) };
        let Reply::Refused { message } = one(public) else { panic!("{host} was called") };
        assert!(
            message.contains("is not a public address (this machine's), and allow_private is not set"),
            "{message}"
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_no_address_is_refused() {
    for url in ["nothing", "ftp://a/b", "http://"] {
        assert!(matches!(one(call(url.to_owned())), Reply::Refused { .. }), "{url}");
    }
}

#[test]
fn no_answer_in_time_and_no_connection_are_failures() {
    let silent = serve(|_| None);
    let short = Call { timeout_ms: 100, ..call(format!("http://{silent}/")) };
    assert_eq!(one(short), Reply::Failed { message: "no answer within 100 ms".to_owned() });
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let Reply::Failed { message } = one(call(format!("http://{gone}/secret-path"))) else { panic!("a failure") };
    assert!(message.contains("refused") && !message.contains("secret-path"), "{message}");
}

#[test]
fn no_more_calls_are_under_way_than_allowed_and_no_reply_is_lost() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, peak) = (Arc::clone(&now), Arc::clone(&most));
    let address = serve(move |_| {
        peak.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Until every place is taken once: then more would be seen, if more were made.
        let deadline = Instant::now() + PATIENCE;
        while peak.load(Ordering::SeqCst) < 4 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        counter.fetch_sub(1, Ordering::SeqCst);
        Some(response("200 OK", "{}"))
    });
    let runtime = runtime();
    let pool = Pool::new(runtime.handle().clone()).expect("a pool");
    let mut lines = [pool.line(), pool.line()];
    // More than the channel holds: nobody takes a reply before all were asked for.
    let count = REPLIES as u64 * 3;
    for line in &mut lines {
        (0..count).for_each(|number| line.call(ticket(number), call(format!("http://{address}/"))));
    }
    for line in &mut lines {
        let mut back: Vec<u64> = collect(line, count as usize).iter().map(|(ticket, _)| ticket.number).collect();
        back.sort_unstable();
        assert_eq!(back, (0..count).collect::<Vec<_>>());
    }
    assert_eq!(most.load(Ordering::SeqCst), 4, "at once");
}

#[test]
fn a_host_that_keeps_failing_is_left_alone_by_all_workers() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let down = serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Some(response("503 Service Unavailable", ""))
    });
    let up = serve(|_| Some(response("404 Not Found", "")));
    let runtime = runtime();
    let pool = Pool::new(runtime.handle().clone()).expect("a pool");
    let (mut one, mut other) = (pool.line(), pool.line());
    for number in 0..5 {
        one.call(ticket(number), call(format!("http://{down}/")));
        let replies = collect(&mut one, 1);
        assert!(matches!(replies[0].1, Reply::Answered { status: 503, .. }), "{replies:?}");
    }
    other.call(ticket(1), call(format!("http://{down}/another/path")));
    let Reply::Open { retry_in_ms } = collect(&mut other, 1).remove(0).1 else { panic!("it should be open") };
    assert!((20_000..=37_500).contains(&retry_in_ms), "{retry_in_ms}");
    assert_eq!(asked.load(Ordering::Relaxed), 5);
    for number in 0..20 {
        other.call(ticket(number), call(format!("http://{up}/")));
        let replies = collect(&mut other, 1);
        assert!(matches!(replies[0].1, Reply::Answered { status: 404, .. }), "a refusal says nothing against a host");
    }
}

#[test]
fn hosts_beyond_the_bound_share_a_name_and_are_forgotten() {
    let mut hosts = Hosts::default();
    for number in 0..HOSTS * 3 {
        hosts.host(&format!("http://h{number}"));
    }
    assert!(hosts.known.len() <= HOSTS, "{}", hosts.known.len());
    assert_eq!(hosts.labels.len(), LABELS);
    assert_eq!(hosts.host("http://h7").label, "http://h7");
    assert_eq!(hosts.host("http://h700").label, metrics::OTHER_HOSTS);
}

#[test]
fn a_call_prints_no_header() {
    let printed = format!("{:?}", call("http://a/".to_owned()));
    assert!(printed.contains("authorization") && !printed.contains("hunter2"), "{printed}");
}

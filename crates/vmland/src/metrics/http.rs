// SPDX-License-Identifier: GPL-2.0-only
//! One request and its response: as much of HTTP/1.1 as a scraper needs.

/// Longest request that is read, in bytes. Prometheus sends some hundreds.
pub const REQUEST_MAX: usize = 8 * 1024;

/// https://prometheus.io/docs/specs/om/open_metrics_spec/#overall-structure
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The response to what has been read of a request. None: it is not whole yet.
pub fn response(request: &[u8], metrics: impl FnOnce() -> String) -> Option<Vec<u8>> {
    let is_whole = request.windows(4).any(|it| it == b"\r\n\r\n");
    if !is_whole && request.len() < REQUEST_MAX {
        return None;
    }
    if !is_whole {
        return Some(refused("431 Request Header Fields Too Large", true));
    }
    let line = request
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let &[method, target, version] = &words[..] else {
        return Some(refused("400 Bad Request", true));
    };
    if !version.starts_with(b"HTTP/1.") {
        return Some(refused("400 Bad Request", true));
    }
    let with_body = method != b"HEAD";
    let path = target.split(|byte| *byte == b'?').next();
    Some(match method {
        b"GET" | b"HEAD" if path == Some(b"/metrics") => {
            written("200 OK", OPENMETRICS, &metrics(), with_body)
        }
        b"GET" | b"HEAD" => refused("404 Not Found", with_body),
        _ => refused("405 Method Not Allowed", true),
    })
}

fn refused(status: &str, with_body: bool) -> Vec<u8> {
    let body = format!("{status}\nThe metrics are at /metrics.\n");
    written(status, PLAIN, &body, with_body)
}

fn written(status: &str, kind: &str, body: &str, with_body: bool) -> Vec<u8> {
    let allow = if status.starts_with("405") {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    let body = if with_body { body } else { "" };
    [head.as_bytes(), body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(request: &[u8]) -> Option<String> {
        let response = response(request, || "# EOF\n".into());
        response.map(|it| String::from_utf8(it).expect("text"))
    }

    #[test]
    fn metrics_and_their_head() {
        let get = of(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").expect("a response");
        assert!(get.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text"));
        assert!(get.ends_with("Content-Length: 6\r\nConnection: close\r\n\r\n# EOF\n"));
        let head = of(b"HEAD /metrics HTTP/1.0\r\n\r\n").expect("a response");
        assert_eq!(head, get.strip_suffix("# EOF\n").expect("a body"));
    }

    #[test]
    fn other_requests() {
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"GET /metricsx HTTP/1.1\r\n\r\n", "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"GET /metrics\r\n\r\n", "400"),
            (b"GET  /metrics HTTP/1.1\r\n\r\n", "400"),
            (b"GET /metrics HTTP/2\r\n\r\n", "400"),
            (b"\x16\x03\x01\r\n\r\n", "400"),
            (&[b'a'; REQUEST_MAX], "431"),
        ] {
            let response = of(request).expect("a response");
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status} ")),
                "{response}"
            );
        }
        for part in [
            &b""[..],
            b"GET /metrics HTTP/1.1\r\n",
            &[0; REQUEST_MAX - 1],
        ] {
            assert_eq!(of(part), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100), near in "(GET|HEAD|X)? ?/?(metrics)?(\\?| | HTTP/1.1)*\r?\n?(\r\n\r\n)?") {
            let _ = of(&bytes);
            let _ = of(near.as_bytes());
        }
    }
}

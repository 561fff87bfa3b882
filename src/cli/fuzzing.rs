//! Ways in for the fuzz targets. No part of the API.

use super::control::{Reply, Request};

/// Reads a line as a request and as a reply. What is read and said again is understood as the same.
///
/// # Panics
/// If it is not.
pub fn message(line: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let _ = request.check();
        let again = serde_json::to_vec(&request).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Request>(&again).ok(), Some(request));
    }
    if let Ok(reply) = serde_json::from_slice::<Reply>(line) {
        let again = serde_json::to_vec(&reply).unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Reply>(&again).ok(), Some(reply));
    }
}

/// Lines that commands and daemons say.
pub fn samples() -> Vec<String> {
    let key = b"a/key".to_vec();
    let requests = [
        Request::Get { key: key.clone() },
        Request::Remove { key: key.clone(), recursive: true },
        Request::Rename { from: key.clone(), to: b"b".to_vec() },
        Request::List { prefix: key, recursive: false },
        Request::Info,
    ];
    let replies = [Reply::Done, Reply::Value { size: 100 }, Reply::Entries(vec![]), Reply::Info(Box::default())];
    let requests = requests.iter().map(serde_json::to_string);
    requests.chain(replies.iter().map(serde_json::to_string)).filter_map(Result::ok).collect()
}

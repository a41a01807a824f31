//! A reader of Server-Sent Events.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::client::Client;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEvent {
    /// Its id.
    pub id: String,
    /// Its type.
    pub event: String,
    /// Its data, which is JSON.
    pub data: Value,
}

/// The events of one job, as one node sends them.
pub struct EventStream {
    response: reqwest::Response,
    received: Vec<u8>,
    /// Of those no event ends in so many.
    searched: usize,
    /// The comments so far, heartbeats among them.
    pub comments: usize,
    /// How long the server wants a reader to wait before it connects again, in milliseconds.
    pub retry: Option<u64>,
}

impl Client {
    /// Follows a job, from behind the event with this id or from the beginning.
    ///
    /// # Panics
    ///
    /// When the node does not answer with a stream.
    pub async fn events(&self, job: &str, last_id: Option<&str>) -> EventStream {
        let mut request = self.request(Method::GET, &format!("/jobs/{job}/events"));
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await.expect("the API answers");
        assert_eq!(response.status(), StatusCode::OK);
        let kind = response.headers().get("content-type");
        assert_eq!(kind.expect("a content type"), "text/event-stream");
        EventStream {
            response,
            received: Vec::new(),
            searched: 0,
            comments: 0,
            retry: None,
        }
    }
}

impl EventStream {
    /// The next event; none at the end of the stream.
    ///
    /// # Panics
    ///
    /// When what comes is no event.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            while let Some(end) = self.end_of_block() {
                let block: Vec<u8> = self.received.drain(..end).collect();
                let block = String::from_utf8(block).expect("events are UTF-8");
                if let Some(event) = self.read(&block) {
                    return Some(event);
                }
            }
            let piece = self.response.chunk().await.ok()??;
            self.received.extend_from_slice(&piece);
        }
    }

    /// Where the first block ends that is here whole.
    fn end_of_block(&mut self) -> Option<usize> {
        let new = self.received.get(self.searched..)?;
        if let Some(place) = new.windows(2).position(|two| two == b"\n\n") {
            return Some(std::mem::take(&mut self.searched) + place + 2);
        }
        // The last byte may be the first half of an end.
        self.searched = self.received.len().saturating_sub(1);
        None
    }

    fn read(&mut self, block: &str) -> Option<ServerEvent> {
        let (mut id, mut event, mut data) = (String::new(), String::new(), String::new());
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" => self.comments += 1,
                "retry" => self.retry = value.parse().ok(),
                "id" => value.clone_into(&mut id),
                "event" => value.clone_into(&mut event),
                "data" => data.push_str(value),
                other => panic!("an unknown field {other:?}"),
            }
        }
        (!data.is_empty()).then(|| ServerEvent {
            id,
            event,
            data: serde_json::from_str(&data).expect("data is JSON"),
        })
    }
}

/// What a reader has gathered, over as many streams as it took.
#[derive(Debug, Default)]
pub struct Gathered {
    /// All of the console text.
    pub text: String,
    /// The states, in the order they were told.
    pub states: Vec<String>,
    /// The id of the last event.
    pub last_id: Option<String>,
    /// The data of the last state.
    pub last_state: Value,
}

impl Gathered {
    /// Takes an event along.
    ///
    /// # Panics
    ///
    /// When it is of an unknown type.
    pub fn take(&mut self, event: ServerEvent) {
        let ServerEvent { id, event, data } = event;
        match event.as_str() {
            "console" => self.text.push_str(data["text"].as_str().expect("text")),
            "state" => {
                let state = data["state"].as_str().expect("a state").to_owned();
                self.states.push(state);
                self.last_state = data;
            }
            other => panic!("an unknown event {other:?}"),
        }
        self.last_id = Some(id);
    }

    /// Takes everything along until the stream ends.
    pub async fn take_all(&mut self, stream: &mut EventStream) {
        while let Some(event) = stream.next().await {
            self.take(event);
        }
    }
}

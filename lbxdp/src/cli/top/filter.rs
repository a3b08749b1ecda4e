//! Which services and servers are shown: by words, all of which must be somewhere in their names.

use super::scene::{ServerScene, ServiceScene};

/// Words of small letters. A word that begins with a colon is a port, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    text: String,
    words: Vec<String>,
}

impl Filter {
    pub(super) fn new(text: String) -> Self {
        let words = text.split_whitespace().map(str::to_lowercase).collect();
        Self { text, words }
    }

    /// As it was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The service is meant, with all its servers.
    pub(super) fn takes_service(&self, service: &ServiceScene) -> bool {
        self.words.iter().all(|word| is_in(word, &service.name, service.key.port()))
    }

    /// A server of the service is meant; some of the words may be the service's.
    pub(super) fn takes_server(&self, service: &ServiceScene, server: &ServerScene) -> bool {
        self.words.iter().all(|word| {
            is_in(word, &server.name, server.port) || is_in(word, &service.name, service.key.port())
        })
    }
}

fn is_in(word: &str, name: &str, port: u16) -> bool {
    match word.strip_prefix(':') {
        Some(number) if !number.is_empty() => number.parse() == Ok(port),
        _ => name.contains(word),
    }
}

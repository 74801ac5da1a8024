//! Counts words with several threads.
use std::collections::BTreeMap;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

/// The words of `texts` and how often each comes.
pub fn count(texts: Vec<String>, threads: usize) -> BTreeMap<String, usize> {
    let work = Arc::new(Mutex::new(texts));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..threads {
        let (work, sender) = (Arc::clone(&work), sender.clone());
        thread::spawn(move || loop {
            let text = match work.lock().unwrap().pop() {
                Some(text) => text,
                None => return,
            };
            for word in text.split_whitespace() {
                sender.send(word.to_string()).unwrap();
            }
        });
    }
    drop(sender);
    let mut counts = BTreeMap::new();
    for word in receiver {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts() {
        let texts = (0..100).map(|i| format!("a b{} a", i % 3)).collect();
        let counts = super::count(texts, 8);
        assert_eq!(counts["a"], 200);
        assert_eq!(counts.len(), 4);
    }

    #[test]
    fn nothing() {
        assert!(super::count(vec![], 3).is_empty());
    }

    #[test]
    #[should_panic]
    fn panics() {
        let _ = super::count(vec!["x".to_string()], 1)["y"];
    }
}

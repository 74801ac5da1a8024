//! Threads, channels, processes, files, panics, and a table from the build script.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::{env, fs, panic, thread};

include!(concat!(env!("OUT_DIR"), "/squares.rs"));

#[derive(derive::Name)]
#[allow(dead_code)]
struct Teacup;

fn processes() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || input.write_all(&vec![b'x'; 1_000_000]).unwrap());
    let mut text = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
    writer.join().unwrap();
    println!("cat {} {:?}", text.len(), child.wait().unwrap().code());
    let status = Command::new("sh").args(["-c", "kill -9 $$"]).status().unwrap();
    println!("killed {status}");
    println!("missing {:?}", Command::new("/no/such/program").spawn().unwrap_err().kind());
    let own = Command::new(env::current_exe().unwrap()).arg("child").output().unwrap();
    println!("own {}", String::from_utf8_lossy(&own.stdout).trim());
}

fn main() {
    if env::args().nth(1).as_deref() == Some("child") {
        println!("child of {}", Teacup::name());
        return;
    }
    println!("squares {}", SQUARES.iter().sum::<u64>());
    println!("{:?}", count::count(vec!["one two".into(), "two".into()], 4));
    let total = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..100)
        .map(|i| {
            let total = Arc::clone(&total);
            thread::spawn(move || (0..1000).for_each(|_| drop(total.fetch_add(i, Ordering::Relaxed))))
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    println!("total {}", total.load(Ordering::Relaxed));
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let players: Vec<_> = (0..3)
        .map(|me| {
            let turn = Arc::clone(&turn);
            thread::spawn(move || {
                for _ in 0..300 {
                    let mut now = turn.1.wait_while(turn.0.lock().unwrap(), |t| *t % 3 != me).unwrap();
                    *now += 1;
                    turn.1.notify_all();
                }
            })
        })
        .collect();
    players.into_iter().for_each(|t| t.join().unwrap());
    println!("turns {}", turn.0.lock().unwrap());
    processes();
    panic::set_hook(Box::new(|_| {}));
    println!("panic {}", panic::catch_unwind(|| [1][env::args().count()]).is_err());
    println!("in a thread {}", thread::spawn(|| panic!()).join().is_err());
    let folder = env::temp_dir().join("rust-app");
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::write(folder.join("a/b/file"), "text").unwrap();
    fs::rename(folder.join("a/b"), folder.join("c")).unwrap();
    println!("{}", fs::read_to_string(folder.join("c/file")).unwrap());
    fs::remove_dir_all(&folder).unwrap();
    let (mut one, mut two) = UnixStream::pair().unwrap();
    let writer = thread::spawn(move || one.write_all(&vec![1; 300_000]).unwrap());
    let mut all = Vec::new();
    two.read_to_end(&mut all).unwrap();
    writer.join().unwrap();
    println!("stream {}", all.len());
}

//! Keys that are gone by themselves.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::medium::Fault;
use crate::store::{Batch, Clock, Door, EntryId, Error, News, ROOT, RenameMode, Stat, Time, Unlink, XattrMode};

const XATTR: &[u8] = b"user.caskfs.expires";

/// A clock that a test sets, in seconds.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(second: i64) -> Hand {
        Hand(Arc::new(AtomicI64::new(second * 1_000_000_000)))
    }

    fn set(&self, second: i64) {
        self.set_to(at(second));
    }

    fn set_to(&self, time: Time) {
        self.0.store(time.0, Ordering::Relaxed);
    }

    fn options(&self) -> Options {
        let hand = Arc::clone(&self.0);
        Options { clock: Clock::new(move || Time(hand.load(Ordering::Relaxed))), ..options() }
    }

    fn open(&self, disk: &SimDisk) -> Store {
        Store::open_on(Arc::new(disk.clone()), self.options()).unwrap()
    }

    fn open_to_read(&self, disk: &SimDisk) -> Store {
        let options = Options { create: false, read_only: true, ..self.options() };
        Store::open_on(Arc::new(disk.clone()), options).unwrap()
    }
}

fn at(second: i64) -> Time {
    Time::new(second, 0)
}

fn stat(store: &Store, key: &str) -> Stat {
    store.stat(key).unwrap().unwrap()
}

/// A store in which it is 100, and `d/k` expires at 200.
fn with_one() -> (SimDisk, Hand, Store) {
    let (disk, hand) = (SimDisk::new(), Hand::at(100));
    let store = hand.open(&disk);
    store.put("d/stays", "value").unwrap();
    store.put_expiring("d/k", "value", at(200)).unwrap();
    (disk, hand, store)
}

/// The id of `d`, for those that must not look it up first.
const D: EntryId = ROOT + 1;

/// One way to look at `d/k`, and whether it is there.
type Look = fn(&Store) -> bool;

const LOOKS: [(&str, Look); 10] = [
    ("get", |store| store.get("d/k").unwrap().is_some()),
    ("stat", |store| store.stat("d/k").unwrap().is_some()),
    ("list", |store| texts(store.list("d").unwrap()).contains(&"d/k".into())),
    ("scan", |store| keys(store).contains(&"d/k".into())),
    ("scan of a prefix", |store| scanned(store, "d/k") == ["d/k"]),
    ("lookup", |store| store.lookup_pinned(D, b"k").unwrap().is_some()),
    ("children", |store| store.children(D, 0, 10).unwrap().len() == 2),
    ("transaction", |store| {
        // Nothing else looks before it.
        let transaction = store.begin().unwrap();
        let directory = transaction.lookup(ROOT, b"d").unwrap();
        transaction.lookup(directory, b"k").is_some()
    }),
    ("rename", |store| match store.rename("d/k", "d/k") {
        Ok(()) => true,
        Err(Error::NotFound) => false,
        Err(error) => panic!("{error}"),
    }),
    ("set_expiry", |store| match store.set_expiry("d/k", Some(at(200))) {
        Ok(()) => true,
        Err(Error::NotFound) => false,
        Err(error) => panic!("{error}"),
    }),
];

#[test]
fn an_expired_key_is_gone_at_its_second_for_every_reader() {
    for (name, look) in LOOKS {
        let (_disk, hand, store) = with_one();
        assert_eq!(stat(&store, "d/k").expires, Some(at(200)));
        hand.set_to(Time(at(200).0 - 1));
        assert!(look(&store), "{name}, a nanosecond before");
        hand.set(200);
        assert!(!look(&store), "{name}");
        // It is not only hidden.
        assert_eq!(store.statistics().unwrap().expired, 1, "{name}");
        assert_eq!(store.next_expiry(), None, "{name}");
        assert_eq!(keys(&store), ["d", "d/stays"]);
    }
}

#[test]
fn it_stays_gone_when_the_clock_is_set_back() {
    for (name, look) in LOOKS {
        let (disk, hand, store) = with_one();
        hand.set(250);
        assert!(!look(&store), "{name}");
        hand.set(100);
        assert!(!look(&store), "{name}, a hundred seconds before its second");
        drop(store);
        let store = hand.open(&disk);
        assert!(!look(&store), "{name}, after a restart");
        assert_eq!(keys(&store), ["d", "d/stays"]);
    }
}

#[test]
fn the_time_survives_a_restart() {
    let (disk, hand, store) = with_one();
    drop(store);
    let store = hand.open(&disk);
    assert_eq!(stat(&store, "d/k").expires, Some(at(200)));
    assert_eq!(store.next_expiry(), Some(at(200)));
    drop(store);
    hand.set(200);
    let store = hand.open(&disk);
    assert_eq!(store.get("d/k").unwrap(), None, "its second came while nobody had the store open");
    drop(store);
    hand.set(100);
    assert_eq!(hand.open(&disk).get("d/k").unwrap(), None);
}

#[test]
fn many_go_at_one_second_in_one_transaction() {
    let (disk, hand) = (SimDisk::new(), Hand::at(100));
    let store = hand.open(&disk);
    let mut batch = Batch::new();
    for key in 0..300 {
        batch.put_expiring(format!("d{}/{key}", key % 3), "value", at(200 + key % 2));
    }
    store.write(batch).unwrap();
    store.sync().unwrap();
    hand.set(200);
    let before = store.written();
    let gone = store.expire_due().unwrap();
    assert_eq!(gone.len(), 150);
    assert!(gone.iter().all(|gone| gone.name.last().is_some_and(|digit| digit % 2 == 0)));
    // A tombstone each, and the three directories.
    assert_eq!(store.written() - before, 153);
    assert_eq!(store.expire_due().unwrap(), []);
    // All of them, or none.
    for image in disk.power_cut_images(5, 40) {
        let clock = Hand::at(100);
        let left = keys(&clock.open(&image)).len();
        assert!(left == 303 || left == 153, "{left}");
    }
    hand.set(201);
    assert_eq!(keys(&store), ["d0", "d1", "d2"]);
    assert_eq!(store.statistics().unwrap().expired, 300);
}

#[test]
fn its_space_is_merged_away() {
    let (disk, hand) = (SimDisk::new(), Hand::at(100));
    let store = hand.open(&disk);
    store.put("k", "older").unwrap();
    for key in 0..50 {
        store.put_expiring(format!("k{key}"), [key; 100], at(200)).unwrap();
    }
    store.set_expiry("k", Some(at(200))).unwrap();
    let before = store.info().unwrap().log_bytes;
    // Merged while they are there, the time goes along.
    for segment in 0..5 {
        store.merge_run(segment, 2).unwrap();
    }
    drop(store);
    let store = hand.open(&disk);
    assert_eq!(stat(&store, "k1").expires, Some(at(200)));
    hand.set(200);
    assert_eq!(keys(&store), Vec::<String>::new());
    for round in 0..20u8 {
        store.put("other", [round; 100]).unwrap();
    }
    store.compact().unwrap();
    assert!(store.info().unwrap().log_bytes * 2 < before, "{} of {before}", store.info().unwrap().log_bytes);
    hand.set(100);
    drop(store);
    assert_eq!(keys(&hand.open(&disk)), ["other"], "nothing comes back, whatever went first");
}

#[test]
fn a_put_makes_a_key_that_stays_and_a_rename_takes_the_time_along() {
    let (_disk, hand, store) = with_one();
    store.put("d/k", "new").unwrap();
    assert_eq!((stat(&store, "d/k").expires, store.next_expiry()), (None, None));
    store.put_expiring("d/k", [7; 300_000], Time(at(300).0 + 1)).unwrap();
    assert_eq!(stat(&store, "d/k").expires, Some(at(301)), "never before its time");
    store.rename("d/k", "d/moved").unwrap();
    assert_eq!(stat(&store, "d/moved").expires, Some(at(301)));
    store.put("target", "value").unwrap();
    store.rename("d/moved", "target").unwrap();
    assert_eq!(stat(&store, "target").expires, Some(at(301)));
    store.put("over", "stays").unwrap();
    store.rename("over", "target").unwrap();
    assert_eq!(store.next_expiry(), None);
    hand.set(400);
    assert_eq!(store.get("target").unwrap().unwrap(), b"stays");
    assert_eq!(store.statistics().unwrap().expired, 0);
}

#[test]
fn the_time_can_be_changed_and_taken_away() {
    let (_disk, hand, store) = with_one();
    store.set_expiry("d/k", Some(at(150))).unwrap();
    assert_eq!(store.next_expiry(), Some(at(150)));
    store.set_expiry("d/k", Some(at(300))).unwrap();
    hand.set(299);
    assert!(store.get("d/k").unwrap().is_some());
    store.set_expiry("d/k", None).unwrap();
    hand.set(1000);
    assert!(store.get("d/k").unwrap().is_some());
    store.set_expiry("d/k", Some(at(999))).unwrap();
    assert_eq!(store.get("d/k").unwrap(), None, "a time that is over is one too");
    assert!(matches!(store.set_expiry("d/k", None), Err(Error::NotFound)));
    assert!(matches!(store.set_expiry("d", Some(at(2000))), Err(Error::NotPermitted(_))));
}

#[test]
fn all_names_of_a_file_go() {
    let (disk, hand, store) = with_one();
    let id = stat(&store, "d/k").id;
    let mut transaction = store.begin().unwrap();
    transaction.link(id, ROOT, b"second").unwrap();
    transaction.commit().unwrap();
    assert_eq!(stat(&store, "second").expires, Some(at(200)));
    let news = store.subscribe(None);
    hand.set(200);
    assert!(store.listings_are_stale());
    assert_eq!(keys(&store), ["d", "d/stays"]);
    let Some(News::Committed(committed)) = news.next() else { panic!("nothing is told") };
    let gone = committed.changes.iter().find(|change| change.entry == id).unwrap();
    assert!(committed.door == Door::EXPIRY && gone.removed && gone.gone.len() == 2);
    assert!(store.listings_are_stale(), "until the subscriber has dropped both");
    news.closer().close();
    assert_eq!(news.next(), None);
    assert!(!store.listings_are_stale());
    drop(news);
    drop(store);
    assert_eq!(keys(&hand.open(&disk)), ["d", "d/stays"]);
}

#[test]
fn whoever_has_it_open_reads_on() {
    let (_disk, hand, store) = with_one();
    let (removed, expired) = (stat(&store, "d/stays").id, stat(&store, "d/k").id);
    store.set_expiry("d/stays", Some(at(200))).unwrap();
    store.pin(removed);
    store.pin(expired);
    store.remove("d/stays").unwrap();
    hand.set(200);
    assert_eq!(store.get("d/k").unwrap(), None);
    let mut value = [0; 5];
    assert_eq!(store.read(expired, 0, &mut value).unwrap(), 5);
    assert_eq!(&value, b"value");
    assert!(store.has_expired(&store.entry(expired).unwrap()));
    assert!(!store.has_expired(&store.entry(removed).unwrap()), "it was removed before");
    store.unpin(expired, 1);
    assert!(store.entry(expired).is_err());
}

#[test]
fn a_snapshot_shows_what_had_not_expired_when_it_was_taken() {
    let (_disk, hand, store) = with_one();
    store.snapshot("early").unwrap();
    hand.set(200);
    store.snapshot("late").unwrap();
    hand.set(500);
    for (name, there) in [("early", true), ("late", false)] {
        let snapshot = store.open_snapshot(name).unwrap();
        assert_eq!(snapshot.get("d/k").unwrap().is_some(), there, "{name}");
        assert_eq!(snapshot.list("d").unwrap().len(), 1 + usize::from(there), "{name}");
    }
    // One that is opened to be read follows the clock, and leaves the store alone.
    let (disk, hand, store) = with_one();
    drop(store);
    hand.set(199);
    let reader = hand.open_to_read(&disk);
    assert!(reader.get("d/k").unwrap().is_some());
    hand.set(200);
    assert_eq!((reader.get("d/k").unwrap(), keys(&reader)), (None, vec!["d".into(), "d/stays".into()]));
    assert!(reader.listings_are_stale());
    assert!(matches!(reader.expire_due(), Err(Error::ReadOnly)));
}

#[test]
fn the_attribute_is_a_view_of_the_time() {
    let (disk, hand, store) = with_one();
    let set = |key: &str, text: &[u8], mode: XattrMode| {
        let id = stat(&store, key).id;
        let mut transaction = store.begin()?;
        transaction.set_xattr(id, XATTR, text, mode)?;
        transaction.commit_attributes(id).map(drop)
    };
    let id = stat(&store, "d/k").id;
    assert_eq!(store.xattr(id, XATTR).unwrap(), b"200");
    assert_eq!(store.xattr_names(id).unwrap(), [XATTR]);
    assert!(!store.has_xattrs(id), "it is not stored as one");
    hand.set_to(Time(at(110).0 + 1));
    let texts = [("300", 300), ("+90", 201), ("+90s", 201), ("+15m", 1011), ("+1h", 3711), ("+7d", 604_911)];
    for (text, expected) in texts {
        set("d/k", text.as_bytes(), XattrMode::Set).unwrap();
        assert_eq!(stat(&store, "d/k").expires, Some(at(expected)), "{text}");
    }
    let wrong = ["", "+", "-", "1.5", " 300", "300\n", "+h", "+1y", "++1", "+-1", "soon", "+99999999999", "9223372037"];
    for text in wrong {
        assert!(matches!(set("d/k", text.as_bytes(), XattrMode::Set), Err(Error::Invalid(_))), "{text:?}");
    }
    assert!(matches!(set("d/k", b"\xff", XattrMode::Set), Err(Error::Invalid(_))));
    assert!(matches!(set("d/k", b"300", XattrMode::Create), Err(Error::Exists)));
    assert!(matches!(set("d/stays", b"300", XattrMode::Replace), Err(Error::NoAttribute)));
    assert!(matches!(set("d", b"300", XattrMode::Set), Err(Error::NotPermitted(_))));
    let mut transaction = store.begin().unwrap();
    transaction.remove_xattr(id, XATTR).unwrap();
    assert!(matches!(transaction.remove_xattr(id, XATTR), Err(Error::NoAttribute)));
    transaction.commit_attributes(id).unwrap();
    assert!(matches!(store.xattr(id, XATTR), Err(Error::NoAttribute)));
    assert_eq!(store.xattr_names(id).unwrap(), Vec::<Vec<u8>>::new());
    set("d/k", b"-5", XattrMode::Set).unwrap();
    drop(store);
    assert_eq!(keys(&hand.open(&disk)), ["d", "d/stays"], "before 1970 is over too");
}

/// What was never committed expires as well, and leaves nothing.
#[test]
fn a_file_that_was_only_created_expires() {
    let (disk, hand, store) = with_one();
    let attributes = stat(&store, "d/k").attributes;
    let id = store.create_provisional(ROOT, b"new", attributes).unwrap().id;
    let mut transaction = store.begin().unwrap();
    transaction.set_expiry(id, Some(at(150))).unwrap();
    assert_eq!(transaction.commit_attributes(id).unwrap(), None);
    assert_eq!(store.next_expiry(), Some(at(150)));
    hand.set(150);
    assert_eq!(store.lookup_pinned(ROOT, b"new").unwrap(), None);
    assert_eq!(store.next_expiry(), Some(at(200)));
    drop(store);
    assert_eq!(keys(&hand.open(&disk)), ["d", "d/k", "d/stays"]);
}

/// The index of what is due follows every way in which a file loses its time or its name.
#[test]
fn nothing_is_due_that_is_not_there() {
    let (_disk, hand, store) = with_one();
    store.put_expiring("a", "value", at(150)).unwrap();
    store.put_expiring("b", "value", at(160)).unwrap();
    let mut transaction = store.begin().unwrap();
    transaction.rename((ROOT, b"a"), (ROOT, b"b"), RenameMode::Exchange).unwrap();
    transaction.commit().unwrap();
    assert_eq!(stat(&store, "b").expires, Some(at(150)));
    store.rename("b", "a").unwrap();
    assert_eq!(stat(&store, "a").expires, Some(at(150)), "what is replaced takes its time with it");
    let mut transaction = store.begin().unwrap();
    transaction.unlink(ROOT, b"a", Unlink::File).unwrap();
    transaction.commit().unwrap();
    assert_eq!(store.next_expiry(), Some(at(200)));
    hand.set(170);
    assert_eq!(store.expire_due().unwrap(), []);
    store.remove("d/k").unwrap();
    assert_eq!(store.next_expiry(), None);
}

#[test]
fn a_store_that_cannot_remove_hides() {
    let (disk, hand, store) = with_one();
    store.put_expiring("other", "value", at(150)).unwrap();
    disk.fail_at(disk.operations(), Fault::Io);
    hand.set(150);
    assert_eq!(store.get("other").unwrap(), None);
    assert!(store.info().unwrap().failure.is_some(), "the tombstone could not be written");
    assert_eq!(keys(&store), ["d", "d/k", "d/stays"]);
    hand.set(200);
    assert_eq!(keys(&store), ["d", "d/stays"]);
}

/// Two clocks that a test sets, in seconds: the one on the wall, and how long the machine has been running.
#[derive(Clone)]
struct Clocks(Hand, Hand);

impl Clocks {
    fn pass(&self, seconds: i64) {
        for Hand(hand) in [&self.0, &self.1] {
            hand.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
        }
    }

    fn jump(&self, seconds: i64) {
        self.0.0.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    }

    fn open(&self, disk: &SimDisk) -> Store {
        let [wall, running] = [&self.0, &self.1].map(|hand| Arc::clone(&hand.0));
        let read = |hand: Arc<AtomicI64>| move || Time(hand.load(Ordering::Relaxed));
        let options = Options { clock: Clock::with_monotonic(read(wall), read(running)), ..options() };
        Store::open_on(Arc::new(disk.clone()), options).unwrap()
    }
}

const YEAR: i64 = 365 * 86_400;

/// It is 1,000,000; `d/0` to `d/9` expire at 1,000,010 and so on, and `stays` does not.
fn with_ten() -> (SimDisk, Clocks, Store) {
    let (disk, clocks) = (SimDisk::new(), Clocks(Hand::at(1_000_000), Hand::at(50)));
    let store = clocks.open(&disk);
    store.put("stays", "value").unwrap();
    for key in 0..10 {
        store.put_expiring(format!("d/{key}"), "value", at(1_000_010 + key)).unwrap();
    }
    (disk, clocks, store)
}

#[test]
fn a_clock_that_jumps_ahead_hides_and_removes_nothing() {
    let (disk, clocks, store) = with_ten();
    clocks.jump(YEAR);
    assert_eq!(keys(&store), ["d", "stays"]);
    assert_eq!(store.get("d/3").unwrap(), None);
    assert_eq!(store.expire_due().unwrap(), []);
    store.put("stays", "another").unwrap();
    assert_eq!((store.hides(), store.clock_is_believed()), (true, false));
    clocks.pass(3599);
    assert_eq!(store.expire_due().unwrap(), []);
    // Nor does another process, or one after the machine was started again.
    drop(store);
    let store = clocks.open(&disk);
    assert_eq!((keys(&store).len(), store.expire_due().unwrap().len()), (2, 0));
    drop(store);
    clocks.1.set(20);
    let store = clocks.open(&disk);
    assert_eq!((keys(&store).len(), store.expire_due().unwrap().len()), (2, 0));
    clocks.jump(-YEAR - 3599);
    assert_eq!(keys(&store).len(), 12, "all are there again");
    assert_eq!((store.statistics().unwrap().expired, store.hides()), (0, false));
    // Those whose second comes are hidden at once, and gone when the clock has been in step for an hour.
    clocks.pass(15);
    assert_eq!(keys(&store).len(), 6);
    assert_eq!(store.expire_due().unwrap(), []);
    clocks.pass(3600);
    assert_eq!(store.expire_due().unwrap().len(), 10);
    drop(store);
    assert_eq!(keys(&clocks.open(&disk)), ["d", "stays"]);
}

#[test]
fn in_normal_life_what_expires_is_removed_at_its_second() {
    let (disk, clocks, store) = with_ten();
    clocks.pass(12);
    assert_eq!(store.expire_due().unwrap().len(), 3);
    drop(store);
    // Another process on the same machine.
    clocks.pass(3);
    let store = clocks.open(&disk);
    assert_eq!(keys(&store).len(), 6);
    assert_eq!(store.statistics().unwrap().expired, 3);
    drop(store);
    // The machine was off for a month: what had come before goes at once, the rest in an hour.
    clocks.jump(30 * 86_400);
    clocks.1.set(30);
    let store = clocks.open(&disk);
    assert_eq!((keys(&store).len(), store.expire_due().unwrap().len()), (2, 0));
    clocks.pass(3600);
    assert_eq!(store.expire_due().unwrap().len(), 4);
}

#[test]
fn the_name_of_what_is_hidden_is_free() {
    let (disk, clocks, store) = with_ten();
    let attributes = stat(&store, "stays").attributes;
    clocks.jump(YEAR);
    store.put("d/0", "new").unwrap();
    store.put("d/1", vec![7; 300_000]).unwrap();
    store.rename("d/0", "d/2").unwrap();
    let mut batch = Batch::new();
    (0..100).for_each(|key| drop(batch.put(format!("d/{}", 3 + key % 2), [key]).clone()));
    store.write(batch).unwrap();
    assert!(!store.remove("d/5").unwrap());
    let made = store.create_provisional(id(&store, "d"), b"6", attributes).unwrap();
    publish(&store, made.id, Update::whole(b"made"));
    store.put_expiring("d/7", "short", at(1_000_500 + YEAR)).unwrap();
    clocks.jump(-YEAR);
    assert_eq!(texts(store.list("d").unwrap()).join(" "), "d/1 d/2 d/3 d/4 d/5 d/6 d/7 d/8 d/9");
    assert_eq!(store.get("d/2").unwrap().unwrap(), b"new");
    assert_eq!(store.get("d/5").unwrap().unwrap(), b"value", "nobody has touched it");
    drop(store);
    let store = clocks.open(&disk);
    assert_eq!(store.get("d/4").unwrap().unwrap(), [99]);
    assert_eq!(store.get("d/6").unwrap().unwrap(), b"made");
    assert_eq!(stat(&store, "d/7").expires, Some(at(1_000_500 + YEAR)));
    // A directory with nothing but what is hidden is empty.
    clocks.jump(YEAR);
    assert!(matches!(store.remove("d"), Err(Error::NotEmpty)));
    for key in 1..8 {
        store.remove(format!("d/{key}")).unwrap();
    }
    store.remove("d").unwrap();
    clocks.jump(-YEAR);
    assert_eq!(keys(&store), ["stays"]);
    drop(store);
    assert_eq!(keys(&clocks.open(&disk)), ["stays"]);
    store_is_whole(&disk);
}

fn store_is_whole(disk: &SimDisk) {
    let store = reopen(disk);
    assert_eq!((&store.report.damage, &store.report.lost_directories), (&vec![], &vec![]));
    store.keydir.read().check_sums();
}

//! A reader of Prometheus' text format, as strict as its description:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::collections::BTreeMap;

/// The samples of one metric.
pub(crate) struct Metric {
    pub(crate) kind: String,
    /// By the name of the sample and its labels.
    pub(crate) samples: BTreeMap<(String, Vec<(String, String)>), f64>,
}

impl Metric {
    /// The value of the one sample without labels.
    pub(crate) fn value(&self) -> f64 {
        assert_eq!(self.samples.len(), 1);
        *self.samples.values().next().unwrap()
    }

    /// The sample of this name, without labels.
    pub(crate) fn part(&self, name: &str) -> f64 {
        self.samples[&(name.to_owned(), vec![])]
    }
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == ':');
    first && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '_' || each == ':')
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        // Rust knows words such as "inf" that the format does not.
        _ => {
            assert!(text.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '+'), "{text}");
            text.parse().unwrap()
        }
    }
}

/// Name, labels and value of a sample.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        let (inside, behind) = inside.split_once('}').unwrap();
        rest = behind;
        for label in inside.split(',') {
            let (label, value) = label.split_once('=').unwrap();
            let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            assert!(is_name(label) && !value.contains(['"', '\\', '\n']), "{line}");
            labels.push((label.to_owned(), value.to_owned()));
        }
    }
    (name.to_owned(), labels, number(rest.strip_prefix(' ').unwrap()))
}

/// Reads a whole text. Panics on what is not as described.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Metric> {
    assert!(text.ends_with('\n'));
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut current = String::new();
    let mut helped = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(helped.take().as_deref(), Some(name), "help and type stand together");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let metric = Metric { kind: kind.to_owned(), samples: BTreeMap::new() };
            assert!(metrics.insert(name.to_owned(), metric).is_none(), "{name} is there twice");
            name.clone_into(&mut current);
        } else {
            let (name, labels, value) = sample(line);
            let metric = metrics.get_mut(&current).unwrap();
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{name} stands among {current}"));
            match metric.kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                kind => assert!(suffix.is_empty() && (kind != "counter" || name.ends_with("_total")), "{line}"),
            }
            assert!(metric.samples.insert((name, labels), value).is_none(), "{line} is there twice");
        }
    }
    for (name, metric) in &metrics {
        assert!(!metric.samples.is_empty(), "{name} has no sample");
        if metric.kind == "histogram" {
            check_histogram(name, metric);
        }
    }
    metrics
}

/// Buckets ascend, count what came before them, and end with all.
fn check_histogram(name: &str, metric: &Metric) {
    let bucket = format!("{name}_bucket");
    let bound = |labels: &[(String, String)]| {
        assert!(labels.len() == 1 && labels[0].0 == "le", "{name}");
        number(&labels[0].1)
    };
    let all = metric.samples.iter().filter(|((name, _), _)| *name == bucket);
    let mut buckets: Vec<(f64, f64)> = all.map(|((_, labels), count)| (bound(labels), *count)).collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{name}: {buckets:?}");
    let (last, count) = *buckets.last().unwrap();
    assert!(last == f64::INFINITY && count == metric.part(&format!("{name}_count")), "{name}: {buckets:?}");
    let sum = metric.part(&format!("{name}_sum"));
    assert!(if count == 0.0 { sum == 0.0 } else { sum >= 0.0 }, "{name}: {sum}");
}

//! A strict parser of the Prometheus text format, version 0.0.4: it refuses what a lenient scraper
//! would guess at.

use std::collections::BTreeMap;

/// A metric with its samples.
#[derive(Debug)]
pub struct Family {
    pub kind: String,
    /// In the order of the page. The name has the suffix of a histogram's line.
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Reads a page.
///
/// # Errors
/// Names the line that breaks a rule of the format.
pub fn parse(page: &str) -> Result<BTreeMap<String, Family>, String> {
    if !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut helped, mut current): (Option<&str>, Option<String>) = (None, None);
    for line in page.lines() {
        let fault = |what: &str| format!("{what}: {line}");
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').ok_or_else(|| fault("no help"))?;
            if text.replace("\\\\", "").replace("\\n", "").contains('\\') {
                return Err(fault("an escape that the format does not have"));
            }
            helped = Some(name);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or_else(|| fault("no type"))?;
            if helped.take() != Some(name) || !is_name(name, true) {
                return Err(fault("a type without its help"));
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(fault("not a type"));
            }
            if kind == "counter" && !name.ends_with("_total") {
                return Err(fault("a counter ends in _total"));
            }
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            if families.insert(name.to_owned(), family).is_some() {
                return Err(fault("the metric stands twice"));
            }
            current = Some(name.to_owned());
        } else {
            let sample = sample(line).map_err(|what| fault(&what))?;
            let name = current.as_ref().ok_or_else(|| fault("a sample without a type"))?;
            let family = families.get_mut(name).ok_or_else(|| fault("no family"))?;
            let suffixes: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            if !suffixes.iter().any(|suffix| sample.name == format!("{name}{suffix}")) {
                return Err(fault("a sample of another metric"));
            }
            let same =
                |other: &Sample| (&other.name, &other.labels) == (&sample.name, &sample.labels);
            if family.samples.iter().any(same) {
                return Err(fault("the sample stands twice"));
            }
            if family.kind != "gauge" && (sample.value.is_nan() || sample.value < 0.0) {
                return Err(fault("it cannot be negative"));
            }
            family.samples.push(sample);
        }
    }
    for (name, family) in &families {
        if family.samples.is_empty() {
            return Err(format!("{name} has no sample"));
        }
        if family.kind == "histogram" {
            check_histogram(name, family)?;
        }
    }
    Ok(families)
}

/// Of each set of labels: cumulative buckets, of which the last is infinite and equals the count,
/// and a sum.
fn check_histogram(name: &str, family: &Family) -> Result<(), String> {
    let mut by_labels: BTreeMap<BTreeMap<String, String>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let limit = labels.remove("le");
        if limit.is_some() != sample.name.ends_with("_bucket") {
            return Err(format!("{name}: `le` belongs to buckets: {sample:?}"));
        }
        by_labels.entry(labels).or_default().push(sample);
    }
    for samples in by_labels.values() {
        let buckets: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|sample| {
                let limit = sample.labels.get("le")?;
                let limit = if limit == "+Inf" { f64::INFINITY } else { limit.parse().ok()? };
                Some((limit, sample.value))
            })
            .collect();
        let the = |suffix: &str| {
            let mut found =
                samples.iter().filter(|sample| sample.name == format!("{name}{suffix}"));
            found.next().map(|sample| sample.value).ok_or_else(|| format!("{name} has no {suffix}"))
        };
        the("_sum")?;
        if buckets.len() + 2 != samples.len()
            || !buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
            || buckets.last() != Some(&(f64::INFINITY, the("_count")?))
        {
            return Err(format!("the buckets of {name} are not those of a histogram: {samples:?}"));
        }
    }
    Ok(())
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("not a name of a metric".to_owned());
    }
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, value) = inner.split_once("=\"").ok_or("a label without its value")?;
            let (value, after) = quoted(value)?;
            if !is_name(label, false) || labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("the label {label}"));
            }
            match after.split_at_checked(1) {
                Some((",", more)) => inner = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => return Err("labels do not end".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = value.parse().map_err(|error| format!("not a number: {error}"))?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// The value up to its closing quotation mark, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[index + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => return Err("an escape that the format does not have".to_owned()),
            },
            other => value.push(other),
        }
    }
    Err("a value does not end".to_owned())
}

fn is_name(text: &str, may_have_colons: bool) -> bool {
    let is_right = |character: char| {
        character.is_ascii_alphanumeric()
            || character == '_'
            || (character == ':' && may_have_colons)
    };
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let head = "# HELP a_total x\n# TYPE a_total counter\n";
        let bucket = "# HELP h x\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n";
        assert!(parse(&format!("{head}a_total{{l=\"a\\\"\\\\\\n}}\"}} 3\n")).is_ok());
        assert!(
            parse(&format!("{bucket}h_bucket{{le=\"+Inf\"}} 2\nh_sum 3.5\nh_count 2\n")).is_ok()
        );
        for page in [
            "a_total 1\n".to_owned(),
            format!("{head}a_total 1"),
            head.to_owned(),
            format!("{head}a_total 1\na_total 1\n"),
            format!("{head}a_total -1\n"),
            format!("{head}b_total 1\n"),
            format!("{head}a_total{{l=\"\\t\"}} 1\n"),
            format!("{head}a_total{{l=\"x\"}}1\n"),
            format!("{head}a_total{{l=\"x\",l=\"y\"}} 1\n"),
            format!("{head}a_total x\n"),
            format!("{head}a_total 1\n{head}a_total 1\n"),
            "# HELP a x\n# TYPE a counter\na 1\n".to_owned(),
            format!("{bucket}h_sum 1\nh_count 1\n"),
            format!("{bucket}h_bucket{{le=\"+Inf\"}} 0\nh_sum 1\nh_count 0\n"),
            format!("{bucket}h_bucket{{le=\"+Inf\"}} 2\nh_sum 1\nh_count 1\n"),
            format!("{bucket}h_bucket{{le=\"+Inf\"}} 2\nh_count 2\n"),
        ] {
            assert!(parse(&page).is_err(), "{page}");
        }
    }
}

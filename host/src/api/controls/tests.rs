use super::*;

fn target(json: &str) -> Result<Target, Problem> {
    parsed(serde_json::from_str(json).unwrap())
}

#[test]
fn a_target_has_the_names_of_its_kind_and_no_others() {
    for json in [
        r#"{"kind":"ingest"}"#,
        r#"{"kind":"plugin","plugin":"p"}"#,
        r#"{"kind":"key","plugin":"p","key":"k"}"#,
        r#"{"kind":"sink","sink":"queue:Pay"}"#,
        r#"{"kind":"type","type":"Pay"}"#,
    ] {
        let target = target(json).unwrap();
        assert_eq!(serde_json::to_string(&shape(&target)).unwrap(), json);
    }
    for json in [
        r#"{"kind":"ingest","plugin":"p"}"#,
        r#"{"kind":"plugin"}"#,
        r#"{"kind":"plugin","plugin":""}"#,
        r#"{"kind":"key","plugin":"p"}"#,
        r#"{"kind":"type","sink":"x"}"#,
    ] {
        assert_eq!(target(json).unwrap_err().attribute.as_deref(), Some("target"), "{json}");
    }
}

#[test]
fn an_end_is_a_time_that_is_to_come_or_a_duration() {
    let now = Timestamp(1_800_000_000_000);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(end(now, None, None).unwrap(), None);
    let after = PauseEnd::After(now.after(Duration::from_secs(600)));
    assert_eq!(end(now, None, some("10m")).unwrap(), Some(after));
    let date = now.after(Duration::from_secs(1));
    assert_eq!(end(now, Some(Time(date)), None).unwrap(), Some(PauseEnd::At(date)));
    for (until, duration, attribute) in [
        (Some(Time(now)), None, "until"),
        (Some(Time(date)), some("1s"), "until"),
        (None, some("0s"), "for"),
        (None, some("long"), "for"),
    ] {
        let problem = end(now, until, duration).unwrap_err();
        assert_eq!(problem.attribute.as_deref(), Some(attribute));
    }
}

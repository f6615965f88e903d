use super::*;
use proptest::prelude::*;

fn run_args(args: &[&str]) -> RunArgs {
    let cli = Cli::try_parse_from([&["surgetank"], args].concat()).unwrap();
    match cli.command() {
        Command::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn error(args: &[&str]) -> String {
    Cli::try_parse_from([&["surgetank"], args].concat())
        .unwrap_err()
        .to_string()
}

#[test]
fn run_is_the_default_and_takes_the_same_options() {
    assert_eq!(run_args(&[]).listen, "127.0.0.1:8969".parse().unwrap());
    assert_eq!(run_args(&["--memory", "64MiB"]).memory, 64 << 20);
    assert_eq!(run_args(&["run", "--memory", "64MiB"]).memory, 64 << 20);
    assert_eq!(run_args(&["run"]).otlp_listen.port(), 4318);
}

#[test]
fn the_definition_is_consistent() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [
        ("8388608", 8 << 20),
        ("8m", 8 << 20),
        ("16 MiB", 16 << 20),
        ("1GB", 1 << 30),
    ] {
        assert_eq!(memory(text), Ok(bytes), "{text}");
    }
    for text in ["", "lots", "-8MiB", "8.5MiB", "8MiBB", "99999999999TiB"] {
        assert!(memory(text).unwrap_err().contains("such as"), "{text}");
    }
    for text in ["1MiB", "65GiB"] {
        assert!(
            memory(text).unwrap_err().contains("between 8MiB and 64GiB"),
            "{text}"
        );
    }
}

#[test]
fn times_have_units() {
    assert_eq!(timeout("5"), Ok(Duration::from_secs(5)));
    assert_eq!(timeout("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(store_age("7d"), Ok(Duration::from_secs(7 * 86_400)));
    assert!(timeout("0s").unwrap_err().contains("between"));
    assert!(timeout("soon").unwrap_err().contains("such as"));
}

#[test]
fn an_upstream_is_a_base_url_without_a_key() {
    assert!(upstream("https://o1.ingest.sentry.io").is_ok());
    assert!(upstream("http://127.0.0.1:9000/prefix/").is_ok());
    for bad in [
        "o1.ingest.sentry.io",
        "ftp://host/",
        "https://host/?a=b",
        "https:///x#y",
    ] {
        let message = upstream(bad).unwrap_err();
        assert!(message.contains("write a base URL"), "{bad}: {message}");
    }
    assert!(
        run_args(&["--sentry-upstream", ""])
            .sentry_upstream()
            .unwrap()
            .is_none()
    );
    let message = run_args(&["--sentry-upstream", "https://topsecret@o1.ingest.sentry.io/42"])
        .sentry_upstream()
        .unwrap_err();
    assert!(
        message.contains("senders' own keys") && !message.contains("topsecret"),
        "{message}"
    );
    assert!(
        message.starts_with("--sentry-upstream (SURGETANK_SENTRY_UPSTREAM):"),
        "{message}"
    );
}

#[test]
fn a_wrong_address_is_answered_with_a_right_one() {
    assert!(error(&["--listen", "8969"]).contains("127.0.0.1:8969"));
    assert_eq!(
        run_args(&["--listen", "localhost:0"]).listen,
        "127.0.0.1:0".parse().unwrap()
    );
}

#[test]
fn the_data_directory_follows_the_xdg_rules() {
    let unset = DataDir { data_dir: None };
    let with = |pairs: &'static [(&str, &str)]| {
        move |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| PathBuf::from(value))
        }
    };
    let path = |pairs| unset.path_in(with(pairs));
    assert_eq!(
        path(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")]),
        Ok("/x/surgetank".into())
    );
    assert_eq!(
        path(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")]),
        Ok("/h/.local/share/surgetank".into())
    );
    assert!(path(&[]).unwrap_err().contains("--data-dir"));
    let given = DataDir {
        data_dir: Some("here".into()),
    };
    assert_eq!(given.path_in(with(&[])), Ok("here".into()));
}

proptest! {
    #[test]
    fn any_text_is_a_size_and_a_time_or_neither(text in ".{0,40}") {
        let _ = (size(&text), duration(&text), timeout(&text), store_age(&text));
    }

    #[test]
    fn sizes_and_times_are_numbers_with_their_units(number in 0u64..1 << 23) {
        for (unit, bytes) in [("", 1), ("KiB", 1 << 10), ("mb", 1 << 20), (" G", 1 << 30), ("tib", 1 << 40)] {
            prop_assert_eq!(size(&format!("{number}{unit}")), Ok(number * bytes));
        }
        for (unit, millis) in [("ms", 1), ("", 1000), ("s", 1000), ("min", 60_000), ("h", 3_600_000), (" d", 86_400_000)] {
            let expected = Duration::from_millis(number * millis);
            prop_assert_eq!(duration(&format!("{number}{unit}")), Ok(expected));
        }
    }
}

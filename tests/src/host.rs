//! The real binary as a process: started, killed, started again on the same store.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::{paths, wait};

const LISTENING: &str = "listening on ";

/// What a host is started with.
#[derive(Default)]
pub struct Builder {
    plugins: Vec<PathBuf>,
    files: Vec<(String, Vec<u8>)>,
    configuration: Configuration,
    store: Option<PathBuf>,
    is_store_among_plugins: bool,
    directory: Option<String>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    binary: Option<PathBuf>,
    needs_tokens: bool,
}

#[derive(Default)]
enum Configuration {
    #[default]
    None,
    Text(String),
    File(PathBuf),
}

impl Builder {
    /// Adds a built plugin.
    #[must_use]
    pub fn plugin(mut self, name: &str) -> Self {
        self.plugins.push(paths::plugin(name));
        self
    }

    /// Adds any file to the directory of plugins.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    #[must_use]
    pub fn configuration(mut self, toml: impl Into<String>) -> Self {
        self.configuration = Configuration::Text(toml.into());
        self
    }

    #[must_use]
    pub fn configuration_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.configuration = Configuration::File(path.into());
        self
    }

    /// Where the store is; else in a folder of the host's own.
    #[must_use]
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// What the directory of plugins is called.
    #[must_use]
    pub fn directory(mut self, name: &str) -> Self {
        self.directory = Some(name.to_owned());
        self
    }

    /// The store lies in the directory of plugins, as with `sagabox run .`.
    #[must_use]
    pub fn store_among_plugins(mut self) -> Self {
        self.is_store_among_plugins = true;
        self
    }

    /// A further argument of `sagabox run`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable of the process's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The host serves nothing without a token. Else it serves this machine.
    #[must_use]
    pub fn with_tokens(mut self) -> Self {
        self.needs_tokens = true;
        self
    }

    /// Another binary than the one under test.
    #[must_use]
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// Starts the host and waits until it listens.
    ///
    /// # Panics
    /// If it does not, with what it said.
    pub async fn start(self) -> Host {
        let folder = TempDir::new().expect("a temporary folder");
        let plugins = folder.path().join(self.directory.as_deref().unwrap_or("plugins"));
        std::fs::create_dir(&plugins).expect("a folder for plugins");
        for from in self.plugins {
            let to = plugins.join(from.file_name().expect("a plugin is a file"));
            std::fs::copy(&from, to).expect("a copy of the plugin");
        }
        for (name, content) in self.files {
            std::fs::write(plugins.join(name), content).expect("a file among the plugins");
        }
        let configuration = match self.configuration {
            Configuration::None => None,
            Configuration::File(path) => Some(path),
            Configuration::Text(text) => {
                let path = folder.path().join("sagabox.toml");
                std::fs::write(&path, text).expect("a configuration file");
                Some(path)
            }
        };
        let own = if self.is_store_among_plugins { plugins.as_path() } else { folder.path() };
        let store = self.store.unwrap_or_else(|| own.join("sagabox.db"));
        let mut host = Host {
            folder,
            plugins,
            store,
            configuration,
            arguments: self.arguments,
            variables: self.variables,
            binary: self.binary,
            needs_tokens: self.needs_tokens,
            // Port 0 the first time; after that the same one, so that clients find it again.
            listen: "127.0.0.1:0".to_owned(),
            child: None,
            output: Arc::default(),
        };
        host.start().await;
        host
    }
}

/// A host process. Dropping it kills it; in a failing test it shows the host's log.
pub struct Host {
    folder: TempDir,
    plugins: PathBuf,
    store: PathBuf,
    configuration: Option<PathBuf>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    binary: Option<PathBuf>,
    needs_tokens: bool,
    listen: String,
    child: Option<Child>,
    /// The lines of standard output since the last start.
    output: Arc<Mutex<Vec<String>>>,
}

impl Host {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the process again on the same store, plugins and address.
    ///
    /// # Panics
    /// If it runs, or does not come to listen.
    pub async fn start(&mut self) {
        assert!(self.child.is_none(), "the host runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = Command::new(self.binary.clone().unwrap_or_else(paths::binary));
        command
            .arg("run")
            .arg(self.plugins())
            .args(["--store", &format!("sqlite:{}", self.store().display())])
            .args(["--listen", &self.listen])
            .args(&self.arguments)
            .env_remove("SAGABOX_CACHE")
            .env("SAGABOX_LOCAL_WITHOUT_TOKEN", if self.needs_tokens { "false" } else { "true" })
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Some(path) = &self.configuration {
            command.arg("--config").arg(path);
        }
        let mut child = command.spawn().expect("the binary under test starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a piped output")).lines();
        self.child = Some(child);
        let output = Arc::new(Mutex::new(Vec::new()));
        self.output = Arc::clone(&output);
        let mut address = None;
        let listening = async {
            while let Ok(Some(line)) = lines.next_line().await {
                address = line.split_once(LISTENING).map(|(_, url)| {
                    url.trim()
                        .trim_start_matches("http://")
                        .trim_start_matches("https://")
                        .to_owned()
                });
                output.lock().expect("no holder of this lock panics").push(line);
                if address.is_some() {
                    break;
                }
            }
        };
        let in_time = tokio::time::timeout(wait::SOON, listening).await.is_ok();
        let Some(address) = address else {
            let why = if in_time { "ended" } else { "did not come to listen" };
            panic!("the host {why}; it printed {:?}", self.output());
        };
        address.trim_end_matches('/').clone_into(&mut self.listen);
        // Reading on keeps the pipe from filling up.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                output.lock().expect("no holder of this lock panics").push(line);
            }
        });
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("the host runs");
        child.kill().await.expect("the host can be killed");
    }

    /// `kill -9`, and starts it again.
    pub async fn kill_and_start(&mut self) {
        self.kill().await;
        self.start().await;
    }

    /// Asks the process to end, without waiting for it.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn terminate(&mut self) {
        self.signal("TERM").await;
    }

    /// Sends the process a signal, by its name without SIG.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn signal(&mut self, name: &str) {
        let id = self.process().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().await;
        assert!(status.expect("kill can be run").success(), "SIG{name} could not be sent");
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// If it does not.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the host runs");
        let status = tokio::time::timeout(wait::SOON, child.wait()).await;
        status.expect("the host ends soon after SIGTERM").expect("the status of a child")
    }

    /// SIGTERM, and waits until it has ended well.
    ///
    /// # Panics
    /// If it does not.
    pub async fn stop(&mut self) {
        self.terminate().await;
        let status = self.ended().await;
        assert!(status.success(), "the host ended with {status}");
    }

    /// The id of the process.
    ///
    /// # Panics
    /// If it does not run.
    pub fn process(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("the host runs")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    pub fn client(&self) -> Client {
        Client::new(self.url())
    }

    pub fn plugins(&self) -> PathBuf {
        self.plugins.clone()
    }

    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the process printed since its last start.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn output(&self) -> Vec<String> {
        self.output.lock().expect("no holder of this lock panics").clone()
    }

    /// What the process wrote to its log, over all its starts.
    ///
    /// # Panics
    /// If there is none.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).expect("the host's log")
    }

    /// # Panics
    /// If the process has ended by itself, or one of its threads has panicked.
    pub fn assert_runs(&mut self) {
        let child = self.child.as_mut().expect("the host was started");
        let ended = child.try_wait().expect("the status of a child");
        assert!(ended.is_none(), "the host ended: {ended:?}");
        assert!(!self.log().contains("panicked at"), "a thread of the host panicked");
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        const SHOWN: usize = 60;
        if !std::thread::panicking() {
            return;
        }
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- the host printed");
        self.output().iter().for_each(|line| eprintln!("{line}"));
        eprintln!("--- the end of the host's log");
        lines.iter().skip(lines.len().saturating_sub(SHOWN)).for_each(|line| eprintln!("{line}"));
    }
}

//! Every answered call survives `kill -9` of the program.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use aws_sdk_dynamodb::types::{PointInTimeRecoverySpecification, SseSpecification};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use aws_sdk_ssm::types::ParameterType;
use tokio::sync::Mutex;

use crate::support::{count, eventually, queue, receive, recovery, sdk};

/// The program on a data folder; killed on drop.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_localaws"))
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        Self {
            url: url
                .unwrap_or_else(|| panic!("no address in {line:?}"))
                .to_owned(),
            child,
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_confirmed_message_survives_a_kill_during_sends() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let (sqs, url) = queue(&program.url, "jobs").await;
    let confirmed = Arc::new(Mutex::new(HashSet::new()));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (sqs, url, confirmed) = (sqs.clone(), url.clone(), Arc::clone(&confirmed));
            tokio::spawn(async move {
                for n in 0.. {
                    let body = format!("{sender}-{n}");
                    if sqs
                        .send_message()
                        .queue_url(&url)
                        .message_body(&body)
                        .send()
                        .await
                        .is_err()
                    {
                        return;
                    }
                    confirmed.lock().await.insert(body);
                }
            })
        })
        .collect();
    eventually("200 messages are confirmed", async || {
        confirmed.lock().await.len() >= 200
    })
    .await;
    program.kill();
    for sender in senders {
        sender.await.unwrap();
    }
    let program = Program::start(dir.path());
    let (sqs, url) = queue(&program.url, "jobs").await;
    let mut received = HashSet::new();
    loop {
        let messages = receive(&sqs, &url).await;
        if messages.is_empty() {
            break;
        }
        received.extend(messages.into_iter().filter_map(|message| message.body));
    }
    let confirmed = confirmed.lock().await;
    assert!(
        confirmed.is_subset(&received),
        "lost: {:?}",
        confirmed.difference(&received).collect::<Vec<_>>()
    );
    assert!(
        received.len() <= confirmed.len() + 4,
        "at most one unconfirmed message per sender"
    );
}

#[tokio::test]
async fn receives_deletions_settings_and_parameters_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let (sqs, url) = queue(&program.url, "jobs").await;
    let ssm = aws_sdk_ssm::Client::new(&sdk(&program.url).await);
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk(&program.url).await);
    for body in ["deleted", "in-flight", "waiting"] {
        sqs.send_message()
            .queue_url(&url)
            .message_body(body)
            .message_group_id(body)
            .send()
            .await
            .unwrap();
    }
    let take = || async {
        let receive = sqs
            .receive_message()
            .queue_url(&url)
            .visibility_timeout(600)
            .send()
            .await;
        receive
            .unwrap()
            .messages
            .unwrap()
            .remove(0)
            .receipt_handle
            .unwrap()
    };
    let (deleted, in_flight) = (take().await, take().await);
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(deleted)
        .send()
        .await
        .unwrap();
    let set = sqs
        .set_queue_attributes()
        .queue_url(&url)
        .attributes(QueueAttributeName::VisibilityTimeout, "77");
    set.send().await.unwrap();
    sqs.tag_queue()
        .queue_url(&url)
        .tags("team", "a")
        .send()
        .await
        .unwrap();
    for value in ["one", "two"] {
        let put = ssm
            .put_parameter()
            .name("/a")
            .value(value)
            .r#type(ParameterType::String)
            .overwrite(true);
        put.send().await.unwrap();
    }
    crate::dynamodb::create_table(&dynamodb, "items").await;
    program.kill();

    let program = Program::start(dir.path());
    let sqs = aws_sdk_sqs::Client::new(&sdk(&program.url).await);
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesNotVisible").await,
        1
    );
    assert_eq!(count(&sqs, &url, "VisibilityTimeout").await, 77);
    assert!(
        sqs.list_queue_tags()
            .queue_url(&url)
            .send()
            .await
            .unwrap()
            .tags
            .is_some()
    );
    let message = receive(&sqs, &url).await.remove(0);
    assert_eq!(message.body.as_deref(), Some("waiting"));
    assert_eq!(
        message.attributes.unwrap()[&MessageSystemAttributeName::MessageGroupId],
        "waiting"
    );
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(in_flight)
        .send()
        .await
        .unwrap();
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessagesNotVisible").await,
        1,
        "the old receipt handle is still valid"
    );
    let ssm = aws_sdk_ssm::Client::new(&sdk(&program.url).await);
    assert_eq!(
        ssm.get_parameter()
            .name("/a:1")
            .send()
            .await
            .unwrap()
            .parameter
            .unwrap()
            .value
            .unwrap(),
        "one"
    );
    assert_eq!(
        ssm.get_parameter()
            .name("/a")
            .send()
            .await
            .unwrap()
            .parameter
            .unwrap()
            .version,
        2
    );
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk(&program.url).await);
    assert_eq!(
        dynamodb
            .list_tables()
            .send()
            .await
            .unwrap()
            .table_names
            .unwrap(),
        ["items"]
    );
}

#[test]
fn a_second_program_on_the_same_folder_reports_why_it_cannot_start() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Program::start(dir.path());
    let second = Command::new(env!("CARGO_BIN_EXE_localaws"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("another process"), "{error}");
}

#[test]
fn sigterm_ends_the_program_with_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let id = program.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn on_a_full_disk_sends_are_refused_and_every_confirmed_message_survives_a_restart() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let (sqs, url) = queue(&program.url, "jobs").await;
    let send = |sqs: &aws_sdk_sqs::Client| {
        sqs.send_message()
            .queue_url(&url)
            .message_body("x".repeat(20_000))
            .send()
    };
    send(&sqs).await.unwrap();
    // The program can grow files to 256 KiB: this acts as a full disk, without another file system.
    let limit = Rlimit {
        current: Some(256 * 1024),
        ..getrlimit(Resource::Fsize)
    };
    let child = Pid::from_raw(program.child.id().try_into().unwrap());
    prlimit(child, Resource::Fsize, limit).unwrap();
    let mut confirmed = 1;
    while send(&sqs).await.is_ok() {
        confirmed += 1;
        assert!(confirmed < 100, "the disk must be full by now");
    }
    assert!(send(&sqs).await.is_err(), "the program keeps refusing");
    program.kill();
    let again = Program::start(dir.path());
    let sqs = aws_sdk_sqs::Client::new(&sdk(&again.url).await);
    assert_eq!(
        count(&sqs, &url, "ApproximateNumberOfMessages").await,
        confirmed
    );
    send(&sqs).await.unwrap();
    again.kill();
}

/// Days of recovery points of the table, if recovery is enabled.
async fn recovery_days(dynamodb: &aws_sdk_dynamodb::Client) -> Option<i32> {
    recovery(dynamodb, "items").await.recovery_period_in_days
}

async fn key_of(dynamodb: &aws_sdk_dynamodb::Client) -> Option<String> {
    let table = dynamodb.describe_table().table_name("items").send().await;
    table.unwrap().table?.sse_description?.kms_master_key_arn
}

#[tokio::test]
async fn settings_and_labels_survive_a_kill_and_a_file_of_an_earlier_version_opens() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let config = sdk(&program.url).await;
    let (ssm, dynamodb) = (
        aws_sdk_ssm::Client::new(&config),
        aws_sdk_dynamodb::Client::new(&config),
    );
    let put = ssm.put_parameter().name("/a").value("one");
    put.r#type(ParameterType::String).send().await.unwrap();
    let label = ssm.label_parameter_version().name("/a").labels("prod");
    label.send().await.unwrap();
    crate::dynamodb::create_table(&dynamodb, "items").await;
    let week = PointInTimeRecoverySpecification::builder()
        .point_in_time_recovery_enabled(true)
        .recovery_period_in_days(7);
    dynamodb
        .update_continuous_backups()
        .table_name("items")
        .point_in_time_recovery_specification(week.build().unwrap())
        .send()
        .await
        .unwrap();
    let arn = "arn:aws:kms:us-east-1:000000000000:key/mine";
    let mine = SseSpecification::builder()
        .enabled(true)
        .kms_master_key_id(arn);
    dynamodb
        .update_table()
        .table_name("items")
        .sse_specification(mine.build())
        .send()
        .await
        .unwrap();
    program.kill();

    let program = Program::start(dir.path());
    let config = sdk(&program.url).await;
    let (ssm, dynamodb) = (
        aws_sdk_ssm::Client::new(&config),
        aws_sdk_dynamodb::Client::new(&config),
    );
    assert_eq!(recovery_days(&dynamodb).await, Some(7));
    assert_eq!(key_of(&dynamodb).await.as_deref(), Some(arn));
    let labeled = ssm.get_parameter().name("/a:prod").send().await.unwrap();
    assert_eq!(labeled.parameter.unwrap().value.as_deref(), Some("one"));
    program.kill();

    // The file as versions before this table left it.
    rusqlite::Connection::open(dir.path().join("aws.db"))
        .unwrap()
        .execute_batch(
            "DROP TABLE table_settings; INSERT INTO recoverable_tables VALUES ('items');",
        )
        .unwrap();
    let program = Program::start(dir.path());
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk(&program.url).await);
    assert_eq!(recovery_days(&dynamodb).await, Some(35));
    assert_eq!(key_of(&dynamodb).await, None);
    let deleted = dynamodb.delete_table().table_name("items").send();
    deleted.await.unwrap();
    crate::dynamodb::create_table(&dynamodb, "items").await;
    assert_eq!(recovery_days(&dynamodb).await, None);
    program.kill();
}

//! A thousand tenants.

use std::time::{Duration, Instant};

use kit::git::git;
use kit::wait::until;

use crate::{Installation, TENANTS};

const MANY: usize = 1_000;
/// Time limit of a list in a debug build on a busy machine: many times the usual.
const WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_thousand_tenants_are_listed_page_by_page_from_memory() {
    let installation = Installation::new().await;
    assert!(installation.push(|clone| {
        let folder = clone.join(TENANTS).join("basic");
        let model =
            std::fs::read_to_string(folder.join("tenant-2.yaml")).expect("the seed's tenant");
        let mut list = std::fs::read_to_string(folder.join("kustomization.yaml")).expect("a list");
        for number in 0..MANY {
            let id = format!("many-{number:04}");
            std::fs::write(
                folder.join(format!("{id}.yaml")),
                model.replace("tenant-2", &id),
            )
            .expect("it is ours");
            list.push_str(&format!("- {id}.yaml\n"));
        }
        std::fs::write(folder.join("kustomization.yaml"), list).expect("it is ours");
        git(clone, &["add", "--all"]);
    }));
    let patience = Duration::from_secs(300);
    until("the control plane knows them", patience, async || {
        installation.get("/tenants?limit=1").await.json()["total"].as_u64() >= Some(MANY as u64)
    })
    .await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let page = installation.get("/tenants?tier=basic&limit=1000").await;
        times.push(begun.elapsed());
        assert_eq!(
            page.json()["tenants"].as_array().expect("tenants").len(),
            1_000
        );
    }
    times.sort_unstable();
    println!("1,000 tenants of {MANY} and more in {:.0?}", times[2]);
    assert!(times[2] < WITHIN, "{times:?}");
    let (mut cursor, mut seen) = (String::new(), 0);
    loop {
        let page = installation
            .get(&format!("/tenants?limit=300{cursor}"))
            .await
            .json();
        seen += page["tenants"].as_array().expect("tenants").len();
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, MANY + 3);
}

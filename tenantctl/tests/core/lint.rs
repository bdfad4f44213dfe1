//! Findings of lint and their positions, and that no wrong indent passes.

use tenantctl::lint::{Finding, lint};
use tenantctl::tree::{MemoryTree, RepoPath, Tree};
use tenantry_tenancy::tenant::Tier;

use crate::seed::{assert_clean, onboard, only, path, replace, run, seed, text};

#[test]
fn the_seed_is_clean() {
    assert_clean(&seed());
}

#[test]
fn an_empty_or_wrong_folder_is_not_clean() {
    let findings = lint(&MemoryTree::new());
    assert!(
        findings.iter().all(|finding| finding.rule == "layout") && findings.len() >= 9,
        "{findings:#?}"
    );
}

/// Changes one thing and expects one finding of a rule, in the file, at the change, with a fix.
#[track_caller]
fn finds(file: &str, from: &str, to: &str, rule: &str, words: &str) {
    let before = text(&seed(), file);
    let first = before
        .split_once(from)
        .map(|(before, _)| before.matches('\n').count() + 1);
    let first = first.unwrap_or_else(|| panic!("{from:?} is not in {file}"));
    let finding = finding(file, from, to, rule, words);
    let at_change = first..=first + to.matches('\n').count();
    assert!(
        finding.line.is_some_and(|line| at_change.contains(&line)),
        "line {at_change:?}: {finding:?}"
    );
}

/// Removes a part and expects the finding at the line of the key above.
#[track_caller]
fn misses(file: &str, gone: &str, above: &str, rule: &str, words: &str) {
    let finding = finding(file, gone, "", rule, words);
    let after = text(&seed(), file).replacen(gone, "", 1);
    let line = after
        .lines()
        .nth(finding.line.expect("a line") - 1)
        .expect("a line of the file");
    assert_eq!(line.trim(), above, "{finding:?}");
}

#[track_caller]
fn finding(file: &str, from: &str, to: &str, rule: &str, words: &str) -> Finding {
    let mut tree = seed();
    replace(&mut tree, file, from, to);
    let finding = only(&tree, rule);
    assert_eq!(finding.path, path(file));
    assert!(finding.message.contains(words), "{words:?}: {finding:?}");
    assert!(!finding.fix.is_empty());
    finding
}

const TENANT: &str = "tenants/premium/tenant-1.yaml";
const POOLED: &str = "tenants/basic/tenant-2.yaml";
const POOL: &str = "pooled-envs/pool-1.yaml";

#[test]
fn ids_and_paths_that_disagree_are_found() {
    for from in [
        "  name: tenant-1\n  namespace",
        "tenantry.dev/tenant: tenant-1\n    tenantry.dev/tier: premium\nspec",
        "releaseName: tenant-1\n",
        "tenantId: tenant-1\n",
    ] {
        finds(
            TENANT,
            from,
            &from.replacen("tenant-1", "tenant-9", 1),
            "id",
            "tenant-1",
        );
    }
    finds(
        TENANT,
        "targetNamespace: flux-tenants",
        "targetNamespace: default",
        "id",
        "targetNamespace",
    );
    misses(
        TENANT,
        "  serviceAccountName: tenant-reconciler\n",
        "spec:",
        "id",
        "serviceAccountName is missing",
    );
    finds(
        TENANT,
        "    tier: premium\n",
        "    tier: basic\n",
        "tier",
        "spec.values.tier is basic",
    );
    finds(
        TENANT,
        "tenantry.dev/tier: premium\nspec",
        "tenantry.dev/tier: basic\nspec",
        "tier",
        "premium",
    );
    finds(
        TENANT,
        "kind: Namespace\nmetadata:\n  name: tenant-1",
        "kind: Namespace\nmetadata:\n  name: kube-system",
        "id",
        "kube-system",
    );
    finds(
        "pooled-envs/pool-1.yaml",
        "tenantId: pool-1",
        "tenantId: pool-2",
        "id",
        "pool-1",
    );
}

#[test]
fn an_object_outside_the_tenants_namespace_is_found() {
    let mut tree = seed();
    let admin = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata:\n  name: admin\n";
    let with_admin = text(&tree, TENANT) + admin;
    tree.insert(path(TENANT), with_admin);
    assert!(only(&tree, "id").message.contains("ClusterRoleBinding"));
}

#[test]
fn unknown_and_missing_fields_are_found_at_every_depth() {
    finds(
        TENANT,
        "      version: 0.0.x\n",
        "      version: 0.0.x\n      verison: 1\n",
        "shape",
        "verison is not a field of spec.chart.spec",
    );
    finds(
        TENANT,
        "  interval: 10m\n  timeout",
        "  intervall: 10m\n  interval: 10m\n  timeout",
        "shape",
        "intervall",
    );
    finds(
        TENANT,
        "\nspec:\n",
        "\nspecs: {}\nspec:\n",
        "shape",
        "specs",
    );
    finds(TENANT, "retries: 3", "retries: three", "shape", "retries");
    misses(
        TENANT,
        "  interval: 10m\n",
        "spec:",
        "shape",
        "interval is missing",
    );
    finds(
        "tenants/kustomization.yaml",
        "resources:",
        "resource: []\nresources:",
        "shape",
        "resource is not a field",
    );
    finds(
        TENANT,
        "helm.toolkit.fluxcd.io/v2",
        "helm.toolkit.fluxcd.io/v2beta1",
        "shape",
        "current version",
    );
}

#[test]
fn values_are_checked_by_the_charts_schema_over_its_defaults() {
    finds(
        TENANT,
        "        enabled: true\n",
        "        enabled: \"true\"\n",
        "values",
        "apps.producer.enabled",
    );
    finds(
        TENANT,
        "        enabled: true\n",
        "        enabled: true\n        replicas: 3\n",
        "values",
        "replicas",
    );
    finds(
        TENANT,
        "    infra:\n      enabled: true\n",
        "    infra:\n      enabled: true\n      retain: consumer\n",
        "values",
        "infra.retain",
    );
    finds(
        TENANT,
        "    infra:\n      enabled: true\n",
        "    infra:\n      enabled: true\n      delete: 1\n",
        "values",
        "delete",
    );
}

#[test]
fn floating_versions_and_tags_are_found() {
    for version in [
        "\"*\"",
        "latest",
        "\"\"",
        "\">=0.0.1\"",
        "0.x",
        "0.0.x || 1",
        "v0.0.1",
    ] {
        finds(
            TENANT,
            "version: 0.0.x",
            &format!("version: {version}"),
            "floating",
            "release",
        );
    }
    finds(
        TENANT,
        "tag: \"0.0.1\"",
        "tag: latest",
        "floating",
        "apps.producer.image.tag",
    );
    finds(
        TENANT,
        "tag: \"0.0.1\"",
        "tag: \"\"",
        "floating",
        "apps.producer.image.tag",
    );
    let mut tree = seed();
    let release: RepoPath = "infrastructure/components/metrics-server/release.yaml"
        .parse()
        .expect("a path");
    let before = tree.read(&release).expect("readable").expect("there");
    let version = before
        .lines()
        .find(|line| line.trim_start().starts_with("version:"))
        .expect("a version")
        .to_owned();
    let indent = &version[..version.find("version").expect("it starts so")];
    tree.insert(
        release.clone(),
        before.replace(&version, &format!("{indent}version: \">=1\"")),
    );
    let finding = only(&tree, "floating");
    assert_eq!(finding.path, release);
}

#[test]
fn missing_references_are_found() {
    finds(
        TENANT,
        "name: tenantry-charts",
        "name: tenantry-chart",
        "reference",
        "HelmRepository flux-tenants/tenantry-chart",
    );
    finds(
        POOLED,
        "    - name: pool-1\n",
        "    - name: pool-1\n    - name: pool-9\n",
        "reference",
        "pool-9",
    );
    finds(
        TENANT,
        "    infra:\n",
        "    infra:\n      tfVersion: terraform-v9-9-9\n",
        "reference",
        "GitRepository -/terraform-v9-9-9",
    );
    finds(
        TENANT,
        "name: cluster-values",
        "name: cluster-value",
        "reference",
        "ConfigMap",
    );
}

#[test]
fn a_missing_pool_is_found() {
    let mut tree = seed();
    replace(
        &mut tree,
        POOLED,
        "        envId: pool-1\n",
        "        envId: pool-7\n",
    );
    replace(
        &mut tree,
        POOLED,
        "    - name: pool-1\n",
        "    - name: pool-1\n    - name: pool-7\n",
    );
    let findings = lint(&tree);
    assert!(
        findings
            .iter()
            .any(|finding| finding.message == "there is no pool pool-7"),
        "{findings:#?}"
    );
}

#[test]
fn a_missing_dependency_on_a_pool_is_found() {
    misses(
        POOLED,
        "  dependsOn:\n    - name: pool-1\n",
        "spec:",
        "pool",
        "spec.dependsOn",
    );
    misses(
        POOLED,
        "        envId: pool-1\n",
        "producer:",
        "values",
        "must be the pool that serves this app",
    );
}

#[test]
fn lists_and_folders_that_disagree_are_found() {
    let list = "tenants/basic/kustomization.yaml";
    finds(
        list,
        "- tenant-2.yaml",
        "- tenant-2.yaml\n- tenant-9.yaml",
        "list",
        "does not exist",
    );
    finds(
        list,
        "- tenant-2.yaml",
        "- tenant-2.yaml\n- ../premium/tenant-1.yaml",
        "list",
        "another folder",
    );
    finds(
        list,
        "- tenant-2.yaml",
        "- tenant-2.yaml\n- https://example.com/x.yaml",
        "list",
        "not in this repository",
    );
    finds(
        list,
        "- tenant-2.yaml",
        "- tenant-2.yaml\n- ../../../../../x",
        "list",
        "outside",
    );
    let mut tree = seed();
    replace(&mut tree, list, "\n- tenant-2.yaml", " []");
    let finding = only(&tree, "unlisted");
    assert_eq!(finding.path, path("tenants/basic/tenant-2.yaml"));
    assert!(finding.fix.contains("- tenant-2.yaml"), "{finding:?}");
    let mut tree = seed();
    replace(&mut tree, "tenants/kustomization.yaml", "- premium\n", "");
    assert_eq!(only(&tree, "unlisted").path, path("tenants/premium"));
}

#[test]
fn a_tenant_in_two_tiers_is_found() {
    let mut tree = seed();
    let copy = text(&tree, TENANT).replace("premium", "advanced");
    tree.insert(path("tenants/advanced/tenant-1.yaml"), copy);
    replace(
        &mut tree,
        "tenants/advanced/kustomization.yaml",
        "resources:\n",
        "resources:\n- tenant-1.yaml\n",
    );
    let finding = only(&tree, "two-tiers");
    assert!(
        finding.path == path(TENANT) && finding.message.contains("tenants/advanced/tenant-1.yaml"),
        "{finding:?}"
    );
}

#[test]
fn misplaced_files_are_found() {
    for file in [
        "tenants/basic/pool-1.yaml",
        "tenants/basic/Tenant.yaml",
        "tenants/basic/tenant-4.yml",
        "tenants/basic/tenant-template.yaml",
        "tenants/gold/a.yaml",
        "tenants/tenant-4.yaml",
        "tenants/basic/tenant-2.yaml.orig",
        "tier-templates/gold_tenant_template.yaml",
        "pooled-envs/other.yaml",
    ] {
        let mut tree = seed();
        tree.insert(path(file), "a: b\n");
        let findings = lint(&tree);
        assert!(
            findings
                .iter()
                .any(|finding| finding.path == path(file) && finding.rule == "layout"),
            "{file}: {findings:#?}"
        );
    }
}

#[test]
fn a_template_without_its_placeholder_is_found() {
    for tier in Tier::ALL {
        let mut tree = seed();
        let file = format!("tier-templates/{tier}_tenant_template.yaml");
        replace(
            &mut tree,
            &file,
            "tenantId: tenant-template",
            "tenantId: acme",
        );
        let finding = only(&tree, "id");
        assert!(
            finding.path == path(&file) && finding.fix.contains("tenant-template"),
            "{finding:?}"
        );
    }
}

#[test]
fn a_tombstone_runs_no_app_and_names_its_former_tier() {
    let mut tree = seed();
    run(&mut tree, &crate::seed::offboard("tenant-1", false)).expect("offboarded");
    let stone = "tenants/offboarded/tenant-1.yaml";
    let clean = tree.clone();
    replace(
        &mut tree,
        stone,
        "        enabled: false\n",
        "        enabled: true\n",
    );
    assert_eq!(
        only(&tree, "tombstone").message,
        "apps.producer.enabled is true, but the tenant is offboarded"
    );
    tree = clean;
    replace(
        &mut tree,
        stone,
        "tenantry.dev/offboarded-from: premium",
        "tenantry.dev/offboarded-from: gold",
    );
    assert_eq!(only(&tree, "tombstone").path, path(stone));
}

#[test]
fn yaml_that_readers_disagree_on_is_found() {
    finds(
        TENANT,
        "    tenantry.dev/tier: premium\nspec",
        "    tenantry.dev/tier: premium\n    on-call: off\nspec",
        "ambiguous",
        "off",
    );
    finds(
        TENANT,
        "  values:\n",
        "  values: &values\n",
        "yaml",
        "anchor",
    );
    finds(
        TENANT,
        "    tenantId: tenant-1\n",
        "    tenantId: tenant-1\n    tenantId: tenant-1\n",
        "yaml",
        "twice",
    );
    finds(
        TENANT,
        "    tenantId: tenant-1\n",
        "\ttenantId: tenant-1\n",
        "yaml",
        "tab",
    );
    finds(
        TENANT,
        "    tier: premium\n",
        "    tier: premium\r\n",
        "yaml",
        "carriage return",
    );
}

/// Shifts each line of the files of tenants, pools and templates. Lint finds the shift, or the meaning is the same (as for
/// the only line of a list).
#[test]
fn a_single_wrong_indent_cannot_pass() {
    let mut tried = 0;
    let files = [
        TENANT,
        POOLED,
        "tenants/advanced/tenant-3.yaml",
        "pooled-envs/pool-1.yaml",
        "tenants/basic/kustomization.yaml",
        "tenants/kustomization.yaml",
        "tier-templates/advanced_tenant_template.yaml",
    ];
    let tree = lean();
    for file in files {
        let before = text(&tree, file);
        let lines: Vec<&str> = before.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            for by in [-4_isize, -2, -1, 1, 2, 4] {
                let indent = line.len() - line.trim_start().len();
                let Some(wrong) = indent.checked_add_signed(by) else {
                    continue;
                };
                if line.trim_start().starts_with('#') || line.is_empty() {
                    continue;
                }
                let mut changed: Vec<String> =
                    lines.iter().map(|line| (*line).to_owned()).collect();
                changed[at] = format!("{}{}", " ".repeat(wrong), line.trim_start());
                let changed = changed.join("\n") + "\n";
                let mut tree = tree.clone();
                tree.insert(path(file), changed.clone());
                tried += 1;
                if lint(&tree).is_empty() {
                    assert!(
                        says_the_same(&before, &changed),
                        "{file}:{}: indented by {by} passes",
                        at + 1
                    );
                }
            }
        }
    }
    assert!(tried > 1500, "{tried}");
}

/// A small tree, linted some thousand times: the application plane and its references.
fn lean() -> MemoryTree {
    let kept = [
        "application-plane/",
        "infrastructure/base/sources/",
        "infrastructure/base/tenancy/",
        "clusters/production/tenancy/cluster-values.yaml",
    ];
    let mut tree = MemoryTree::new();
    for (path, text) in seed().files() {
        let is_list =
            path.file_name() == "kustomization.yaml" && path.as_str().starts_with("clusters/");
        if !is_list && kept.iter().any(|kept| path.as_str().starts_with(kept)) {
            tree.insert(path.clone(), text);
        }
    }
    assert_clean(&tree);
    tree
}

/// Compares each line's chain of keys with a second, simple reader, so that a wrong parser cannot confirm itself.
fn says_the_same(before: &str, after: &str) -> bool {
    let chains = |text: &str| {
        let mut open: Vec<(usize, String)> = Vec::new();
        let mut chains = Vec::new();
        for line in text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        {
            let indent = line.len() - line.trim_start().len();
            // A list's dash may be in its key's column.
            let depth = if line.trim_start().starts_with("- ") {
                indent + 1
            } else {
                indent
            };
            while open.last().is_some_and(|(above, _)| *above >= depth) {
                open.pop();
            }
            chains.push((
                open.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>(),
                line.trim().to_owned(),
            ));
            open.push((depth, line.trim().to_owned()));
        }
        chains
    };
    chains(before) == chains(after)
}

#[test]
fn findings_are_sorted_and_the_same_every_time() {
    let mut tree = seed();
    for number in 0..40 {
        run(
            &mut tree,
            &onboard(&format!("t{number}"), Tier::Advanced, "0.0"),
        )
        .expect("onboarded");
        replace(
            &mut tree,
            &format!("tenants/advanced/t{number}.yaml"),
            "tier: advanced\n    apps",
            "tier: gold\n    apps",
        );
    }
    let findings = lint(&tree);
    assert!(findings.len() >= 40 && findings.is_sorted());
    for _ in 0..5 {
        assert_eq!(lint(&tree), findings);
    }
}

#[test]
fn a_release_that_could_do_more_than_a_tenants_is_found() {
    for (from, to, rule, words) in [
        (
            "  serviceAccountName: tenant-reconciler\n",
            "  serviceAccountName: default\n",
            "id",
            "serviceAccountName",
        ),
        (
            "  storageNamespace: flux-tenants\n",
            "  storageNamespace: kube-system\n",
            "id",
            "storageNamespace",
        ),
        (
            "      chart: helm-tenant-chart\n",
            "      chart: ./charts/mine\n",
            "id",
            "spec.chart.spec.chart",
        ),
        (
            "        kind: HelmRepository\n",
            "        kind: GitRepository\n",
            "id",
            "sourceRef.kind",
        ),
        (
            "        name: tenantry-charts\n",
            "        name: kubecost\n        namespace: flux-system\n",
            "source",
            "tenantry-charts",
        ),
        (
            "    - kind: ConfigMap\n      name: cluster-values\n",
            "    - kind: Secret\n      name: cluster-values\n",
            "source",
            "valuesFrom",
        ),
        (
            "      name: cluster-values\n",
            "      name: cluster-values\n      targetPath: image.tag\n",
            "source",
            "valuesFrom",
        ),
        (
            "    - kind: ConfigMap\n",
            "    - kind: Secret\n      name: aws-credentials\n    - kind: ConfigMap\n",
            "source",
            "valuesFrom",
        ),
        (
            "  values:\n",
            "  postRenderers: []\n  values:\n",
            "release",
            "postRenderers",
        ),
        (
            "  values:\n",
            "  kubeConfig: {secretRef: {name: a}}\n  values:\n",
            "release",
            "kubeConfig",
        ),
        (
            "  values:\n",
            "  commonMetadata: {labels: {a: b}}\n  values:\n",
            "release",
            "commonMetadata",
        ),
        (
            "  values:\n",
            "  dependsOn: [{name: pool-1, namespace: kube-system}]\n  values:\n",
            "release",
            "dependsOn",
        ),
        (
            "  install:\n",
            "  install:\n    createNamespace: true\n",
            "release",
            "createNamespace",
        ),
        (
            "  upgrade:\n",
            "  upgrade:\n    force: true\n",
            "release",
            "force",
        ),
        (
            "      version: 0.0.x\n",
            "      version: 0.0.x\n      valuesFiles: [a.yaml]\n",
            "release",
            "valuesFiles",
        ),
        (
            "    infra:\n",
            "    aws: {}\n    infra:\n",
            "release",
            "spec.values.aws",
        ),
        (
            "    infra:\n",
            "    identity: {}\n    infra:\n",
            "release",
            "spec.values.identity",
        ),
        (
            "    infra:\n",
            "    routing: {type: none}\n    infra:\n",
            "release",
            "routing.type",
        ),
        (
            "    infra:\n",
            "    infra:\n      namespace: tenant-2\n",
            "release",
            "infra.namespace",
        ),
        (
            "    infra:\n",
            "    infra:\n      vars: {role_path: /}\n",
            "release",
            "role_path",
        ),
        (
            "    infra:\n",
            "    auth: {}\n    infra:\n",
            "release",
            "spec.values.auth",
        ),
        (
            "    infra:\n",
            "    auth: null\n    infra:\n",
            "release",
            "spec.values.auth",
        ),
        (
            "    infra:\n",
            "    networkPolicy: {}\n    infra:\n",
            "release",
            "spec.values.networkPolicy",
        ),
        (
            "    infra:\n",
            "    networkPolicy: null\n    infra:\n",
            "release",
            "spec.values.networkPolicy",
        ),
        (
            "    infra:\n",
            "    routing: ~\n    infra:\n",
            "release",
            "spec.values.routing",
        ),
        (
            "    infra:\n",
            "    infra:\n      vars: ~\n",
            "release",
            "spec.values.infra.vars",
        ),
        (
            "    infra:\n",
            "    infra:\n      vars: {namespaces: {producer: kube-system}}\n",
            "release",
            "infra.vars.namespaces",
        ),
        (
            "    infra:\n",
            "    infra:\n      vars: {later_variable: a}\n",
            "release",
            "infra.vars.later_variable",
        ),
        (
            "    infra:\n",
            "    appDefaults: {service: {type: LoadBalancer}}\n    infra:\n",
            "release",
            "service.type",
        ),
        (
            "    infra:\n",
            "    appDefaults: {priorityClassName: system-node-critical}\n    infra:\n",
            "release",
            "priorityClassName",
        ),
        (
            "    infra:\n",
            "    appDefaults: {serviceAccount: {roleArn: 'arn:aws:iam::123456789012:role/admin'}}\n    infra:\n",
            "release",
            "appDefaults.serviceAccount",
        ),
        (
            "    infra:\n",
            "    appDefaults: {serviceAccount: {annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::123456789012:role/a-role-b'}}}\n    infra:\n",
            "release",
            "appDefaults.serviceAccount",
        ),
        (
            "    infra:\n",
            "    appDefaults: {ingress: {className: nginx}}\n    infra:\n",
            "release",
            "ingress.className",
        ),
        (
            "    infra:\n",
            "    appDefaults: {ingress: {annotations: {alb.ingress.kubernetes.io/auth-type: oidc}}}\n    infra:\n",
            "release",
            "auth-type",
        ),
        (
            "      producer:\n        enabled: true\n",
            "      producer:\n        service: {type: NodePort}\n        enabled: true\n",
            "release",
            "apps.producer.service.type",
        ),
    ] {
        for file in [
            TENANT,
            "pooled-envs/pool-1.yaml",
            "tier-templates/premium_tenant_template.yaml",
        ] {
            let mut tree = seed();
            replace(&mut tree, file, from, to);
            let findings = lint(&tree);
            let is_found = |finding: &Finding| {
                finding.is_error()
                    && finding.path == path(file)
                    && finding.rule == rule
                    && finding.message.contains(words)
            };
            assert!(findings.iter().any(is_found), "{file}: {to}: {findings:#?}");
        }
    }
    // The schema does not know two charts at once.
    let mut tree = seed();
    replace(
        &mut tree,
        TENANT,
        "  chart:\n",
        "  chartRef: {kind: OCIRepository, name: a}\n  chart:\n",
    );
    assert!(
        lint(&tree)
            .iter()
            .any(|finding| finding.message.contains("chartRef"))
    );
}

#[test]
fn values_that_admission_accepts_pass() {
    let own = "arn:aws:iam::123456789012:role/tenantry/producer-role-tenant-1";
    let values = [
        "    routing: {pool: {tenantRoutes: false}}\n".to_owned(),
        "    appDefaults: {service: {type: ClusterIP}, priorityClassName: high, ingress: {className: alb}}\n"
            .to_owned(),
        "    appDefaults: {service: {type: ~}, priorityClassName: ~, serviceAccount: {roleArn: ''}}\n"
            .to_owned(),
        format!("    appDefaults: {{serviceAccount: {{roleArn: '{own}'}}}}\n"),
        "    appDefaults: {ingress: {annotations: {alb.ingress.kubernetes.io/scheme: internal, a.example.com/b: c}}}\n"
            .to_owned(),
    ];
    for value in values {
        let mut tree = seed();
        replace(
            &mut tree,
            TENANT,
            "    infra:\n",
            &format!("{value}    infra:\n"),
        );
        assert_clean(&tree);
    }
    let every = "generation: '1', kms_key_arn: a, message_retention_seconds: 60, tags: {}, ttl_attribute: a";
    let vars = |more: &str| format!("    infra:\n      vars: {{{every}{more}}}\n");
    let of_pool = ", pooled_reader_principal_arns: [], tenant_scoped_reads: true";
    let mut tree = seed();
    replace(&mut tree, TENANT, "    infra:\n", &vars(""));
    replace(&mut tree, POOL, "    infra:\n", &vars(of_pool));
    let order = "    appDefaults: {ingress: {annotations: {alb.ingress.kubernetes.io/group.order: '9'}}}\n    infra:\n";
    replace(&mut tree, POOL, "    infra:\n", order);
    assert_clean(&tree);
    for variable in [
        "pooled_reader_principal_arns: []",
        "tenant_scoped_reads: true",
    ] {
        finds(
            TENANT,
            "    infra:\n",
            &format!("    infra:\n      vars: {{{variable}}}\n"),
            "release",
            variable.split(':').next().expect("a name"),
        );
    }
}

#[test]
fn an_object_that_flux_may_not_write_is_found_before_it_stops_all_tenants() {
    let objects = [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: tenant-1}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: tenant-1}\n",
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: a, namespace: tenant-1}\n",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: a, namespace: tenant-1}\nspec: {interval: 1m}\n",
        "apiVersion: v1\nkind: List\nitems: []\n",
    ];
    for object in objects {
        let mut tree = seed();
        let with = format!("{}---\n{object}", text(&tree, TENANT));
        tree.insert(path(TENANT), with);
        let findings = lint(&tree);
        assert!(findings.iter().any(Finding::is_error), "{object}");
    }
    misses(
        TENANT,
        "    pod-security.kubernetes.io/enforce: restricted\n",
        "labels:",
        "id",
        "pod-security.kubernetes.io/enforce",
    );
    for version in ["v1.24", "v2", "v1.300"] {
        finds(
            TENANT,
            "enforce-version: v1.30",
            &format!("enforce-version: {version}"),
            "id",
            "enforce-version",
        );
    }
    for version in ["latest", "v1.36"] {
        let mut tree = seed();
        let label = format!("enforce-version: {version}");
        replace(&mut tree, TENANT, "enforce-version: v1.30", &label);
        assert_clean(&tree);
    }
}

#[test]
fn every_scalar_that_a_resolver_reads_otherwise_is_found() {
    for value in [
        "2024-01-01",
        "2024-1-1",
        "2024-01-01T10:00:00Z",
        "2024-01-01 10:00:00",
        "0X1F",
        "-0x1F",
        "0B11",
        "0b11",
        "0O17",
        "017",
        "0_1",
        "1_000",
        "1e3",
        "1.5e3",
        "12:30",
        "1:2:3.4",
        ".inf",
        "-.INF",
        ".nan",
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "N",
        "=",
        "<<",
        "0o17x_",
    ] {
        let mut tree = seed();
        replace(
            &mut tree,
            TENANT,
            "tier: premium\nspec",
            &format!("tier: premium\n    note: {value}\nspec"),
        );
        let findings = lint(&tree);
        let is_found = findings
            .iter()
            .any(|finding| ["ambiguous", "shape", "yaml"].contains(&finding.rule));
        assert_eq!(is_found, value != "0o17x_", "{value}: {findings:#?}");
        let mut tree = seed();
        replace(
            &mut tree,
            TENANT,
            "tag: \"0.0.1\"",
            &format!("tag: {value}"),
        );
        let findings = lint(&tree);
        assert_eq!(
            findings.iter().any(Finding::is_error),
            value != "0o17x_",
            "{value}: {findings:#?}"
        );
        let mut tree = seed();
        replace(
            &mut tree,
            TENANT,
            "tier: premium\nspec",
            &format!("tier: premium\n    note: \"{value}\"\nspec"),
        );
        assert_clean(&tree);
    }
    // A key, too, and an entry of a list.
    let mut tree = seed();
    replace(
        &mut tree,
        TENANT,
        "tier: premium\nspec",
        "tier: premium\n    on: \"1\"\nspec",
    );
    assert_eq!(only(&tree, "ambiguous").line, Some(21));
}

#[test]
fn a_platform_namespace_is_no_tenant() {
    let mut tree = seed();
    let namespace: RepoPath = "infrastructure/components/shop/namespace.yaml"
        .parse()
        .expect("a path");
    tree.insert(
        namespace,
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n",
    );
    let request = onboard("shop", Tier::Premium, "0.0");
    let error = tenantctl::plan::check_namespace(&tree, &request).expect_err("it is taken");
    assert_eq!(error.code(), "namespace_taken");
    run(&mut tree, &request).expect("a plan alone does not check namespaces");
    let finding = only(&tree, "id");
    assert!(
        finding.message.contains("namespace of the platform"),
        "{finding:?}"
    );
    tenantctl::plan::check_namespace(&tree, &onboard("shop-2", Tier::Basic, "0.0"))
        .expect("another id is free");
}

/// Files outside the application plane that lint once refused, and with them every commit.
#[test]
fn what_kustomize_builds_of_others_is_no_error() {
    let list = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: metrics-server, namespace: a}\n";
    let mut tree = seed();
    for (file, text) in [
        ("kustomization.yaml", format!("{list}resources: [./release.yaml, source.yaml]\npatches: [{{path: ./patch.yaml}}]\nconfigMapGenerator: [{{name: a, files: [./app.yaml]}}]\n")),
        ("release.yaml", format!("{release}spec: {{interval: 1m, chartRef: {{kind: ExternalArtifact, name: x}}}}\n")),
        ("patch.yaml", format!("{release}spec: {{timeout: 5m}}\n")),
        ("app.yaml", "base: &base {a: 1}\nother: {<<: *base}\nbroken: [\n".to_owned()),
        ("source.yaml", "apiVersion: example.com/v1\nkind: Source\nmetadata: {name: s}\nspec: &s {url: x}\nagain: *s\n".to_owned()),
    ] {
        tree.insert(format!("infrastructure/others/{file}").parse().expect("a path"), text);
    }
    let findings = lint(&tree);
    assert!(!findings.iter().any(Finding::is_error), "{findings:#?}");
}

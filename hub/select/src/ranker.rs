//! The learned ranker: a weight a feature, boosted trees, or both, over what the signals say of a candidate.

use serde::Deserialize;

use crate::models::Error;

/// As the file has it.
#[derive(Deserialize)]
struct File {
    features: Vec<String>,
    #[serde(default)]
    trees: Vec<FileTree>,
    #[serde(default)]
    linear: Vec<f32>,
    #[serde(default)]
    blend: f32,
}

#[derive(Deserialize)]
struct FileTree {
    f: Vec<i32>,
    t: Vec<f32>,
    l: Vec<u32>,
    r: Vec<u32>,
    v: Vec<f32>,
}

/// Go left when the feature is at most `at`; a leaf has no feature.
struct Node {
    feature: Option<u16>,
    value: f32,
    left: u32,
    right: u32,
}

/// Boosted trees, a weight a feature, and how much of the fixed fusion is added.
pub struct Ranker {
    nodes: Vec<Node>,
    roots: Vec<u32>,
    linear: Vec<(u16, f32)>,
    blend: f32,
}

impl Ranker {
    /// The fixed fusion as it is.
    pub fn fixed() -> Self {
        Self { nodes: Vec::new(), roots: Vec::new(), linear: Vec::new(), blend: 1.0 }
    }

    /// Reads a file; `names` are the features in the order that [`Ranker::score`] gets them.
    pub fn read(file: &str, names: &[String]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("ranker: {what}"));
        let file: File = serde_json::from_str(file).map_err(|error| wrong(error.to_string()))?;
        let columns = file
            .features
            .iter()
            .map(|name| {
                let at = names.iter().position(|known| known == name);
                at.map(|at| at as u16).ok_or_else(|| wrong(format!("there is no feature \"{name}\"; train it anew")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if !file.linear.is_empty() && file.linear.len() != columns.len() {
            return Err(wrong(format!("linear must have {} numbers, as features has", columns.len())));
        }
        let linear = columns.iter().copied().zip(file.linear).collect();
        let mut ranker = Self { nodes: Vec::new(), roots: Vec::new(), linear, blend: file.blend };
        for (number, tree) in file.trees.iter().enumerate() {
            ranker.add(tree, &columns).ok_or_else(|| wrong(format!("tree {number} points outside of itself")))?;
        }
        Ok(ranker)
    }

    fn add(&mut self, tree: &FileTree, columns: &[u16]) -> Option<()> {
        let base = self.nodes.len() as u32;
        let size = tree.f.len() as u32;
        self.roots.push(base);
        if size == 0 {
            return None;
        }
        for at in 0..tree.f.len() {
            let leaf = tree.f[at] < 0;
            let (left, right) = if leaf { (0, 0) } else { (*tree.l.get(at)?, *tree.r.get(at)?) };
            // Children come after their parent, so no walk can go in circles.
            let below = at as u32 + 1..size;
            if !(leaf || below.contains(&left) && below.contains(&right)) {
                return None;
            }
            self.nodes.push(Node {
                feature: if leaf { None } else { Some(*columns.get(tree.f[at] as usize)?) },
                value: if leaf { *tree.v.get(at)? } else { *tree.t.get(at)? },
                left: base + left,
                right: base + right,
            });
        }
        Some(())
    }

    /// The score of one candidate.
    pub fn score(&self, features: &[f32], fused: f32) -> f32 {
        let of = |at: u16| features.get(usize::from(at)).copied().unwrap_or_default();
        let linear: f32 = self.linear.iter().map(|&(at, weight)| weight * of(at)).sum();
        self.trees(features) + linear + self.blend * fused
    }

    fn trees(&self, features: &[f32]) -> f32 {
        self.roots.iter().map(|&root| self.leaf(root, features)).sum()
    }

    fn leaf(&self, root: u32, features: &[f32]) -> f32 {
        let mut at = root as usize;
        loop {
            let node = &self.nodes[at];
            let Some(feature) = node.feature else { return node.value };
            let value = features.get(usize::from(feature)).copied().unwrap_or_default();
            at = if value <= node.value { node.left } else { node.right } as usize;
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // sums of small whole numbers are exact
mod tests {
    use super::*;

    const FILE: &str = r#"{"features":["b"],"blend":0.5,
        "trees":[{"f":[0,-1,-1],"t":[1.0,0,0],"l":[1,0,0],"r":[2,0,0],"v":[0,10.0,20.0]}]}"#;

    fn names() -> Vec<String> {
        vec!["a".to_owned(), "b".to_owned()]
    }

    #[test]
    fn a_value_at_the_threshold_goes_left_and_the_fusion_is_blended_in() {
        let ranker = Ranker::read(FILE, &names()).unwrap();
        assert_eq!([ranker.score(&[9.0, 1.0], 2.0), ranker.score(&[0.0, 1.1], 2.0)], [11.0, 21.0]);
    }

    #[test]
    fn a_weight_a_feature_is_added_up() {
        let ranker = Ranker::read(r#"{"features":["b","a"],"linear":[2.0,3.0]}"#, &names()).unwrap();
        assert_eq!(ranker.score(&[1.0, 10.0], 5.0), 23.0);
    }

    #[test]
    fn a_file_that_does_not_fit_says_what_is_wrong() {
        let error = |file: &str| Ranker::read(file, &names()).err().unwrap().to_string();
        assert!(error(&FILE.replace("[\"b\"]", "[\"c\"]")).contains("there is no feature \"c\""));
        assert!(error(&FILE.replace("\"l\":[1", "\"l\":[0")).contains("tree 0 points outside of itself"));
        assert!(error("{").contains("ranker: EOF"));
    }
}

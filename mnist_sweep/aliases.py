"""What else a name is called: by other programs, in another spelling, by a slip of the pen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from functools import cache

#: Our names -> what else they are called; case and whatever is no letter or digit do not count.
ALIASES: Mapping[str, str] = {
    # keys of a spec
    "count": "run_cap",
    "seeds": "seed random_seed seed_everything random_state manual_seed rng_seed",
    "model": "architecture arch network net model_type model_name",
    "validation_size": "val_size valid_size",
    # hyperparameters
    "batch_size": "batch batch_sz bs minibatch_size mini_batch_size train_batch_size",
    "lr": "learning_rate learn_rate learning_rate_init initial_lr init_lr base_lr max_lr eta",
    "opt": "optimizer optimiser optim optimizer_name optimizer_type optimization solver",
    "width": "hidden_size hidden_sizes hidden_dim hidden_dims hidden_units num_hidden_units "
    "n_hidden_units hidden_layer_size hidden_layer_sizes hidden_layers_size hidden_layer_dim "
    "hidden_nodes hidden_neurons hidden_features hidden_width fc_layer_size fc_size fc_dim "
    "fc_units layer_size layer_sizes layer_width units n_units num_units neurons n_neurons "
    "num_neurons neurons_per_layer units_per_layer nodes num_nodes dense_units dense_size",
    "depth": "num_layers n_layers n_layer layers nb_layers hidden_layers num_hidden_layers "
    "n_hidden_layers nb_hidden_layers number_of_layers number_of_hidden_layers no_of_layers "
    "no_of_hidden_layers hidden_layer_count layer_count num_fc_layers num_dense_layers",
    "activation_fn": "activation activations activation_function activation_func activation_type "
    "act act_fn act_func hidden_activation nonlinearity non_linearity",
    "epochs": "epoch n_epochs n_epoch num_epochs num_epoch nb_epochs no_of_epochs number_of_epochs "
    "max_epochs total_epochs train_epochs training_epochs",
    "lr_schedule": "schedule scheduler lr_scheduler learning_rate_schedule scheduler_type",
    "label_smoothing": "label_smooth smoothing",
    "weight_decay": "wd w_d weight_decay_rate",
    "dropout": "dropout_rate dropout_prob dropout_p drop_rate drop_prob drop_out drop p_dropout",
    "weight_init": "w_init init init_method init_type initializer initialiser initialization "
    "initialisation weight_initialization weight_initialisation weight_initializer weights_init "
    "kernel_initializer",
    "clip_norm": "grad_clip grad_clip_norm grad_norm_clip gradient_clip gradient_clipping "
    "gradient_clip_val clip_grad clip_grad_norm max_grad_norm gradient_norm",
    # what hyperparameters may be
    "sgd": "vanilla_sgd plain_sgd",
    "silu": "swish",
    "leaky_relu": "lrelu",
    "sigmoid": "logistic",
    "plateau": "reduce_lr_on_plateau reduce_on_plateau",
    "constant": "none",
    "cosine": "cosine_annealing cosine_annealing_lr",
    "onecycle": "one_cycle one_cycle_lr",
    "uniform": "random random_uniform",
    "xavier_uniform": "xavier glorot glorot_uniform",
    "xavier_normal": "glorot_normal",
    "he_uniform": "kaiming_uniform",
    "he_normal": "he kaiming kaiming_normal",
    "mlp": "ffn fcnn feedforward fully_connected dense multilayer_perceptron",
    "cnn": "convnet conv_net",
    # others
    "loss": "loss_function loss_fn loss_func loss_type criterion objective",
    "cross_entropy": "ce nll nll_loss cross_entropy_loss categorical_cross_entropy "
    "sparse_categorical_cross_entropy",
    "classes": "num_classes n_classes output_size output_dim",
    "input_size": "input_dim",
    "epsilon": "eps adam_epsilon",
    "momentum": "sgd_momentum sgdm momentum_sgd momentum_gd",
    "nesterov": "use_nesterov nag nesterov_momentum sgd_nesterov",
    "dataset": "dataset_name data",
    "grid": "grid_search",
    "bayes": "bayesian bayesian_optimization",
    "maximize": "max maximise",
    "minimize": "min minimise",
    "categorical": "categorical_w_probabilities",
}
#: The words of a metric's name, and what else they are; without the first, val is meant.
_SPLITS = {
    "val": ["", "val", "valid", "validation", "eval", "dev", "epochval"],
    "test": ["test"],
    "train": ["train", "training"],
}
_MEASURES = {
    "accuracy": ["accuracy", "acc", "accuracyepoch", "accepoch", "categoricalaccuracy"],
    "loss": ["loss", "lossepoch"],
}
_METRICS = {
    f"{split}_{measure}": {x + y for a in splits for b in measures for x, y in ((a, b), (b, a))}
    for split, splits in _SPLITS.items()
    for measure, measures in _MEASURES.items()
}


#: The width of one layer: layer1_size, layer_2_units, fc3, hidden1, n_units_l0.
_A_LAYER = re.compile(
    r"(n_)?(hidden|layer|fc|dense|lin|linear|units|size|h)_?(layer|units|size|dim|l)?s?_?(\d+)"
    r"(_?(size|units|dim|nodes|neurons|width))?"
)


def layer_number(name: str) -> int | None:
    """Which layer ``name`` is the width of; None if it is no such name."""
    match = _A_LAYER.fullmatch(name.lower().rpartition(".")[2])
    return int(match[4]) if match else None


def _plain(word: str) -> str:
    return re.sub(r"[\W_]", "", word[:80].lower())


@cache
def _names(option: str) -> frozenset[str]:
    others = map(_plain, ALIASES.get(option, "").split())
    return frozenset({_plain(option), *others, *_METRICS.get(option, ())})


def meant(word: str, options: Collection[str]) -> str | None:
    """Which of ``options`` is called ``word``: itself, in another spelling, or by an alias.

    Of a dotted name, such as ``model.lr`` or ``torch.optim.Adam``, the last part may be one.
    """
    if word in options:
        return word
    for name in (word, re.sub(r"\.(name|type)$", "", word).rpartition(".")[2]):
        for option in options:
            if _plain(name) in _names(option):
                return option
    return None


def suggest(word: str, options: Collection[str]) -> str:
    """``"; did you mean 'x'?"`` if ``word`` is one of ``options`` by a slip of the pen. Else "".

    A different word is no slip, however near it is: radam is not adam, and selu is not silu.
    """
    for option in options:
        if any(_is_slip(_plain(word), name) for name in _names(option)):
            return f"; did you mean '{option}'?"
    return ""


def _is_slip(word: str, name: str) -> bool:
    """Letters that changed places, or one doubled; of longer words also one wrong or missing."""
    if abs(len(word) - len(name)) > 1 or word[:1] != name[:1] or re.search(r"\d", word):
        return word == name
    if sorted(word) == sorted(name) or _undoubled(word) == _undoubled(name):
        return True
    long = min(len(word), len(name)) >= (5 if word[-1:] == name[-1:] else 6)
    return long and difflib.SequenceMatcher(None, word, name).ratio() > 0.83


def _undoubled(word: str) -> str:
    return re.sub(r"(.)\1", r"\1", word)

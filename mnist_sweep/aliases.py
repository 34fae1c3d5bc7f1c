"""What else a name is called: by other programs, in another spelling, by a slip of the pen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from functools import cache
from itertools import product

#: Our names -> what else they are called; case and whatever is no letter or digit do not count, and
#: of the parts in braces one stands there.
ALIASES: Mapping[str, str] = {
    # keys of a spec
    "count": "run_cap",
    "seeds": "{,random_,manual_,rng_,model_,global_}seed seed_everything random_state",
    "model": "architecture arch network net model_type model_name",
    "validation_size": "{val,valid,validation}_{size,split,fraction,ratio}",
    # hyperparameters
    "batch_size": "{,mini,train_,training_}batch{,_size,_sz} bs",
    "lr": "{,initial_,init_,base_,max_,start_}{learning_rate,learn_rate,l_rate,lr}{,_init} eta",
    "opt": "{optimizer,optimiser,optim}{,_name,_type} optimization solver",
    "width": "{hidden,fc,dense,linear,layer,hidden_layer,hidden_layers,fc_layer,dense_layer}_"
    "{size,sizes,dim,dims,units,nodes,neurons,features,width,widths} {hl,hlayer}_size size_hidden "
    "{,n_,num_,no_of_,number_of_}{,hidden_}{units,nodes,neurons}{,_per_layer,_per_hidden_layer}",
    "depth": "{n,nb,num,no_of,num_of,number_of}_{,hidden_,h,fc_,dense_}{layer,layers} layers "
    "{hidden,fc,dense}_layers {,hidden_}{layer,layers}_{count,num}",
    "activation_fn": "{,hidden_,fc_,dense_}{activation,act}{,s,_function,_func,_fn,_type} "
    "nonlinearity",
    "epochs": "{,n_,nb_,num_,no_of_,number_of_,max_,total_,train_,training_}{epoch,epochs}",
    "lr_schedule": "{,lr_,learning_rate_}{schedule,scheduler,sched}{,_type,_name}",
    "label_smoothing": "label_smooth smoothing",
    "weight_decay": "wd w_d weight_decay_rate",
    "dropout": "{,hidden_,fc_,dense_}dropout{,_rate,_prob,_p} drop{,_rate,_prob} p_dropout",
    "weight_init": "{,w_,weight_,weights_,kernel_}init{,ializer,ialiser,ialization,ialisation}"
    "{,_method,_type}",
    "clip_norm": "{grad,gradient}_{clip,clipping}{,_norm,_val} clip_grad{,_norm} "
    "{,max_}{grad,gradient}_norm{,_clip}",
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
    "float32": "32 fp32",
    "mlp": "ffn fcnn feedforward fully_connected dense multilayer_perceptron",
    "cnn": "convnet conv_net",
    # others
    "loss": "loss_{function,fn,func,type} criterion objective",
    "cross_entropy": "ce nll nll_loss {,sparse_}{,categorical_}cross_entropy{,_loss}",
    "classes": "num_classes n_classes output_size output_dim",
    "input_size": "input_dim",
    "channels": "{in,input,num,n}_channels",
    "epsilon": "eps adam_epsilon",
    "bias": "use_bias",
    "augmentation": "{,use_,data_}{augment,augmentation} data_aug",
    "early_stopping": "early_stop",
    "momentum": "sgd_momentum sgdm momentum_sgd momentum_gd mgd sgd_with_momentum",
    "nesterov": "use_nesterov nag nesterov_momentum sgd_nesterov",
    "dataset": "dataset_name data",
    "grid": "grid_search",
    "bayes": "bayesian bayesian_optimization",
    "maximize": "max maximise",
    "minimize": "min minimise",
    "categorical": "categorical_w_probabilities choice",
}
#: The words of a metric's name, in either order; without the first, val is meant.
_SPLITS = {
    "val": ",val,valid,validation,eval,dev,epochval",
    "test": "test",
    "train": "train,training",
}
_MEASURES = {"accuracy": "accuracy,acc,accu,categoricalaccuracy", "loss": "loss"}
_METRICS = {
    f"{split}_{measure}": f"{{{a}}}{{{b}}}{{,epoch}} {{{b}}}{{,epoch}}{{{a}}}"
    for split, a in _SPLITS.items()
    for measure, b in _MEASURES.items()
}

#: The width of one layer: layer1_size, layer_2_units, fc3, hidden1, n_units_l0.
_A_LAYER = re.compile(
    r"((n|num)_)?(hidden|layer|fc|dense|lin|linear|units|neurons|nodes|size|h)_?"
    r"(layer|units|neurons|nodes|size|dim|l)?s?_?(\d+)(_?(size|units|dim|nodes|neurons|width))?"
)


def layer_number(name: str) -> int | None:
    """Which layer ``name`` is the width of; None if it is no such name."""
    match = _A_LAYER.fullmatch(name.lower().rpartition(".")[2])
    return int(match[5]) if match else None


def _plain(word: str) -> str:
    return re.sub(r"[\W_]", "", word[:80].lower())


@cache
def names(option: str) -> frozenset[str]:
    """All that ``option`` is called, in lower case and without what is no letter or digit."""
    words = f"{option} {ALIASES.get(option) or _METRICS.get(option, '')}".split()
    forms = [[form.split(",") for form in re.split("[{}]", word)] for word in words]
    return frozenset(_plain("".join(parts)) for form in forms for parts in product(*form))


def meant(word: str, options: Collection[str]) -> str | None:
    """Which of ``options`` is called ``word``: itself, in another spelling, or by an alias.

    Of a dotted name, such as ``model.lr`` or ``torch.optim.Adam``, the last part may be one.
    """
    if word in options:
        return word
    for name in (word, re.sub(r"\.(name|type)$", "", word).rpartition(".")[2]):
        for option in options:
            if _plain(name) in names(option):
                return option
    return None


def remedy(word: str, options: Collection[str], what: str = "") -> tuple[str, str]:
    """What to do with a ``word`` that is no option (no value, or ``what``), and what is one."""
    if hint := suggest(word, options):
        return hint, ""
    if what:
        return "; correct or remove it", f"; {what} are {', '.join(options)}"
    return "", f"; use one of {', '.join(options)}"


def suggest(word: str, options: Collection[str]) -> str:
    """``"; did you mean 'x'?"`` if ``word`` is one of ``options`` by a slip of the pen. Else "".

    A different word is no slip, however near it is: radam is not adam, and selu is not silu.
    """
    for option in options:
        if any(_is_slip(_plain(word), name) for name in names(option)):
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

"""Small tasks, batches, networks and methods that tests share."""

import torch

from oncoseg import registry
from oncoseg.case import Batch, Prompts, Task

# Parts that are too large for a test with their defaults, or that cannot be built without options.
NETWORKS = {
    "agunet": "agunet:widths=4x8x8x8",
    "att_swin_unet": "att_swin_unet:width=6,window=2,dim=2",
    "barlow_swin": "barlow_swin:width=8,heads=2,decoder=8x8x8x8",
    "daunet": "daunet:widths=8x8x16x16",
    "diffusion_unet": "diffusion_unet:width=8,steps=5,jump=2,repeats=1",
    "dm_segnet": "dm_segnet:width=4,states=4",
    "fuseunet": "fuseunet:width=4",
    "h_denseunet": "h_denseunet:width=4,growth=2x2,flat=1x1x1x1,volume=1x1x1x1,features=4",
    "hemis": "hemis:width=8",
    "hybridgnet": "hybridgnet:width=2,nodes=12,latent=8,order=3",
    "interactive_fcn": "interactive_fcn:network=(unet:width=8)",
    "maxquery": "maxquery:widths=8x16x16x16x16,queries=8,features=8,dim=24,layers=1,heads=2",
    "lightm_unet": "lightm_unet:width=8,states=4",
    "mpunet": "mpunet:width=2",
    "msga": "msga:width=8,units=1x1x1x1,groups=8,features=8,tokens=64",
    "multimodal_unetr": "multimodal_unetr:patch=4,width=24,depth=2,heads=2,features=8",
    "multilevel_activation": "multilevel_activation:network=(unet:width=8)",
    "nnunet": "nnunet:width=8",
    "oss_net": "oss_net:widths=4x8,features=8,side=3,stages=2x1",
    "pct_net": "pct_net:widths=4x8x8x16x32,window=2",
    "pranet": "pranet:width=8,units=1x1x1x1",
    "probabilistic_unet": "probabilistic_unet:width=8",
    "res_attn_unet_pu": "res_attn_unet_pu:widths=4x8x8x8",
    "resunet_effb0_ca_aspp": "resunet_effb0_ca_aspp:width=0.25,context=8,decoder=16x16x8x8x8",
    "qtseg": "qtseg:width=4,heads=2,hidden=8,depths=1x1x1",
    "resunetpp": "resunetpp:widths=4x8x8x16x16",
    "rev_mbconv_unet3d": "rev_mbconv_unet3d:widths=4x8x8x8,blocks=1",
    "sam_decoder": "sam_decoder:encoder=(unet:width=8),width=16",
    "sat": "sat:widths=8x16x32x32x32,dim=24,layers=1,heads=2,hidden=48",
    "sdl_seg": "sdl_seg:network=(unet:width=4),sigma=2",
    "stunet": "stunet:width=8",
    "swin_umamba": "swin_umamba:width=4,depths=1x1x1x1,states=4",
    "swin_unetr": "swin_unetr:width=6,window=4",
    "swtr_unet": "swtr_unet:width=8,units=1x1x1,dim=12,depth=1,heads=2,window=2",
    "transdae": "transdae:widths=8x8x16,heads=2,depth=1",
    "temporal_prior_unet": "temporal_prior_unet:network=(unet:width=4)",
    "transunet": "transunet:width=8,units=1x1x1,dim=24,depth=1,heads=2,decoder=16x16x8x8x8",
    "two5d_suite": "two5d_suite:network=(unet:width=4)",
    "umamba": "umamba:width=8,states=4",
    "unetpp": "unetpp:width=4",
    "unet": "unet:width=8",
    "unet_mss": "unet_mss:widths=4x8x8x8",
    "wau": "wau:width=4,heads=2,window=2",
    "xlstm_unet": "xlstm_unet:width=8",
}
METHODS = {
    "occupancy": "occupancy:points=128",
    "sfda_prior_entropy": "sfda_prior_entropy:prior=0.1",
}


def regions_task(dims=3, size=32, modalities=("t1", "t1ce", "t2", "flair")):
    """Nested glioma regions."""
    return Task(
        "glioma",
        modalities,
        {"NCR": 1, "ED": 2, "ET": 4},
        {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
        spacing=(1.0,) * dims,
        patch=(size,) * dims,
        strides=((2,) * dims,) * 3,
    )


def classes_task(dims=3, size=32, classes=2):
    """Mutually exclusive classes in one modality."""
    labels = {f"class_{value}": value for value in range(1, classes + 1)}
    regions = {name: (name,) for name in labels}
    return Task(
        "toy", ("image",), labels, regions, (1.0,) * dims, (size,) * dims, ((2,) * dims,) * 3
    )


def planned(patch, classes):
    """One modality, background and `classes` - 1 labels; every stride 2, as nnU-Net plans it."""
    dims, stages = len(patch), {2: 7, 3: 5}[len(patch)]
    labels = {f"class_{value}": value for value in range(1, classes)}
    regions = {name: (name,) for name in labels}
    return Task("t", ("ct",), labels, regions, (1.0,) * dims, patch, ((2,) * dims,) * stages)


def make_batch(task, size=2, seed=0, margin=1.0):
    """Random images with a bright block of the last label and everything present."""
    generator = torch.Generator().manual_seed(seed)
    shape = tuple(round(length * margin) for length in task.patch)
    image = torch.randn(size, task.inputs, *shape, generator=generator)
    values = torch.zeros(size, *shape, dtype=torch.long)
    block = (slice(None), *(slice(length // 4, length // 2) for length in shape))
    values[block] = max(task.labels.values())
    image[(slice(None), slice(None), *block[1:])] += 3
    label = torch.from_numpy(task.encode(values.numpy())).movedim(0, 1).float()
    return Batch(
        image=image,
        present=torch.ones_like(image, dtype=torch.bool),
        label=label,
        weight=torch.ones(size, 1, *shape),
        labeled=torch.ones(size, dtype=torch.bool),
        annotated=torch.ones(size, task.outputs, dtype=torch.bool),
        domain=torch.zeros(size, dtype=torch.long),
        prompts=Prompts.none(image),
    )


TASKS = {"2-D regions": regions_task(2), "3-D classes": classes_task(3, 16)}


def network_for(method):
    """The first registered network, spelt small, that gives what a method needs."""
    needs = set(registry.entry("methods", method).needs) - {"labeled", "unlabeled", "start"}
    names = ["unet", *registry.names("networks")]
    found = next(name for name in names if needs <= set(registry.entry("networks", name).gives))
    return NETWORKS.get(found, found)


def build_method(name, task, network="", seed=0):
    """A method with a network and loss, and whatever trained network it works with."""
    torch.manual_seed(seed)
    spelled = METHODS.get(name, name)
    kind = registry.load("methods", name)
    trained = kind.pretext(task, **registry.chosen("methods", spelled))
    built = registry.build("networks", network or network_for(name), trained)
    loss = registry.build("losses", "dice_ce", exclusive=trained.exclusive)
    method = registry.build("methods", spelled, built, task, loss)
    for option in method.models:
        if getattr(method, option, ""):
            helper = registry.build("networks", "unet:width=4", task)
            method.use(option, helper.eval().requires_grad_(requires_grad=False), task)
    return method


def shown(batch, method):
    """What the sampler would show of a batch to a method: half of the labels, or none."""
    needs = registry.entry("methods", method).needs
    known = torch.ones(len(batch), dtype=torch.bool)
    if "labeled" not in needs:
        known[:] = False
    elif "unlabeled" in needs:
        known[len(batch) // 2 :] = False
    return batch.but(
        labeled=known, label=batch.label * known.view(-1, *[1] * (batch.label.ndim - 1))
    )


def with_only(batch, names, task):
    """The batch with only some modalities present."""
    keep = torch.tensor([name in names for name in task.modalities])
    return batch.but(present=batch.present & keep.view(1, -1, *[1] * task.dims))


def ordered(batch, places):
    """The batch with some modalities' channels, in another order."""
    return batch.but(image=batch.image[:, places], present=batch.present[:, places])


def lent(network, other):
    """Give a network those of another's weights that it has too, by name."""
    found = other.state_dict()
    network.load_state_dict({name: found[name] for name in network.state_dict()})
    return network
